#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace bench {

/// Rows of the view in `projection_apply`, and in `raw_lmdb_update`.
constexpr std::size_t view_rows = 100'000;

/// What a scenario measured.
struct figure {
  double value = 0; ///< in `unit`
  std::string unit = "per second";
  double p50_us = 0; ///< 0: not measured
  double p99_us = 0;
  double ratio =
      0; ///< to the baseline, if both were measured in alternation; 0: the two figures of the run are divided
  std::string note;
};

/// What scenarios share in one run.
struct run_context {
  bool quick = false;
  std::filesystem::path dir; ///< an empty folder on the disk to be measured; the scenario's own
  std::map<std::string, figure> done;

  // What the journal reached in `journal_append`; `raw_lmdb_log` writes the same.
  std::size_t batch_events = 256;
  std::size_t record_bytes = 256;

  std::chrono::duration<double> length() const { return std::chrono::duration<double>{quick ? 1.0 : 10.0}; }
  /// Of `alternate`: how often, and how long each load runs.
  std::size_t rounds() const { return quick ? 5 : 9; }
  std::chrono::duration<double> round_length() const { return length() / 5; }
};

/// One figure of the table.
struct scenario {
  const char* name;
  const char* what;
  /// The scenario that this one is compared with; null: none.
  const char* baseline;
  /// Scenarios that must run before, because this one needs what they found.
  std::vector<const char*> needs;
  figure (*run)(run_context&);
};

// In the order in which they run.
figure raw_caf_ask(run_context&);
figure breaker_overhead(run_context&);
figure journal_append_single(run_context&);
figure journal_append(run_context&);
figure timers_set(run_context&);
figure timers_fired(run_context&);
figure federate(run_context&);
figure raw_lmdb_log(run_context&);
figure durable_command(run_context&);
figure durable_command_observed(run_context&);
figure idempotent_command(run_context&);
figure multi_stream_command(run_context&);
figure multi_stream_contended(run_context&);
figure saga_4_steps(run_context&);
figure hot_stream_command(run_context&);
figure single_command(run_context&);
figure raw_lmdb_commit(run_context&);
figure open_journal(run_context&);
figure raw_lmdb_scan_parse(run_context&);
figure replay(run_context&);
figure recover_with_snapshot(run_context&);
figure subscribe_live(run_context&);
figure subscribe_catch_up(run_context&);
figure subscribe_8(run_context&);
figure projection_apply(run_context&);
figure raw_lmdb_update(run_context&);
figure raw_caf_remote_ask_1(run_context&);
figure raw_caf_remote_ask_16(run_context&);
figure raw_caf_remote_ask_256(run_context&);
figure raw_caf_remote_ask_4096(run_context&);
figure remote_call_1(run_context&);
figure remote_call_16(run_context&);
figure remote_call_256(run_context&);
figure remote_call_4096(run_context&);
figure raw_caf_remote_commit_1(run_context&);
figure remote_command_1(run_context&);
figure remote_command_256(run_context&);
figure remote_feed(run_context&);
figure cold_entities(run_context&);
figure entity_memory(run_context&);

/// Writes one entity's stream of a million events to `dir`, then dies by SIGKILL. Run in a process of its
/// own.
[[noreturn]] void write_million_events_and_die(const std::filesystem::path& dir);

} // namespace bench
