#include "remote.hpp"
#include "scenario.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>

#include <unistd.h>

namespace {

using namespace bench;

const std::vector<scenario> scenarios{
    {"raw_caf_ask", "request and response between plain CAF actors", nullptr, {}, raw_caf_ask},
    {"breaker_overhead", "what a closed breaker adds to a call of an actor", nullptr, {}, breaker_overhead},
    {"durable_command",
     "ask to reply through 10,000 entities, one event each",
     "raw_caf_ask",
     {},
     durable_command},
    {"idempotent_command",
     "the same with an idempotency key on every command",
     "durable_command",
     {},
     idempotent_command},
    {"durable_command_observed",
     "the same with metrics that are scraped and 1 % of the traces recorded, beside the same without",
     "durable_command",
     {},
     durable_command_observed},
    {"multi_stream_command",
     "ask to reply of commands that read two of 100,000 streams and append to both",
     "durable_command",
     {},
     multi_stream_command},
    {"multi_stream_contended",
     "the same with two of 10 streams, whose entities take commands as well",
     nullptr,
     {},
     multi_stream_contended},
    {"saga_4_steps",
     "sagas of four steps with four entities, to their end",
     "durable_command",
     {},
     saga_4_steps},
    {"hot_stream_command", "durable_command through one entity", "raw_caf_ask", {}, hot_stream_command},
    {"journal_append_single",
     "the journal alone, one event a commit",
     "raw_lmdb_log",
     {},
     journal_append_single},
    {"journal_append", "the journal alone, sixteen streams a commit", "raw_lmdb_log", {}, journal_append},
    {"timers_set", "the same with a durable timer for each event", "journal_append", {}, timers_set},
    {"timers_fired", "durable timers that are due, cancelled by their owner", nullptr, {}, timers_fired},
    {"federate", "events to another service's journal, without personal data", nullptr, {}, federate},
    {"raw_lmdb_log", "LMDB alone, same batch and record size", nullptr, {"journal_append"}, raw_lmdb_log},
    {"single_command", "one command in flight", "raw_lmdb_commit", {}, single_command},
    {"raw_lmdb_commit", "LMDB alone, one record a commit", nullptr, {}, raw_lmdb_commit},
    {"open_journal", "opening 1,000,000 events after a crash", nullptr, {}, open_journal},
    {"raw_lmdb_scan_parse",
     "LMDB and Protobuf alone, reading these events",
     nullptr,
     {"open_journal"},
     raw_lmdb_scan_parse},
    {"replay", "waking one entity of these events", "raw_lmdb_scan_parse", {"open_journal"}, replay},
    {"recover_with_snapshot",
     "waking this entity from a snapshot",
     nullptr,
     {"open_journal"},
     recover_with_snapshot},
    {"subscribe_catch_up",
     "a subscriber that reads these events",
     "raw_lmdb_scan_parse",
     {"open_journal"},
     subscribe_catch_up},
    {"subscribe_live",
     "a subscriber that follows while events are appended",
     "journal_append",
     {},
     subscribe_live},
    {"subscribe_8", "appending while eight subscribers follow", nullptr, {}, subscribe_8},
    {"projection_apply",
     "applying events to 100,000 rows of a view",
     "raw_lmdb_update",
     {},
     projection_apply},
    {"raw_lmdb_update", "LMDB alone, reading and writing such rows", nullptr, {}, raw_lmdb_update},
    {"raw_caf_remote_ask_1",
     "plain CAF between two processes, 1 in flight",
     nullptr,
     {},
     raw_caf_remote_ask_1},
    {"remote_call_1", "a call to an actor that persists nothing", "raw_caf_remote_ask_1", {}, remote_call_1},
    {"raw_caf_remote_ask_16",
     "plain CAF between two processes, 16 in flight",
     nullptr,
     {},
     raw_caf_remote_ask_16},
    {"remote_call_16",
     "a call to an actor that persists nothing",
     "raw_caf_remote_ask_16",
     {},
     remote_call_16},
    {"raw_caf_remote_ask_256",
     "plain CAF between two processes, 256 in flight",
     nullptr,
     {},
     raw_caf_remote_ask_256},
    {"remote_call_256",
     "a call to an actor that persists nothing",
     "raw_caf_remote_ask_256",
     {},
     remote_call_256},
    {"raw_caf_remote_ask_4096",
     "plain CAF between two processes, 4096 in flight",
     nullptr,
     {},
     raw_caf_remote_ask_4096},
    {"remote_call_4096",
     "a call to an actor that persists nothing",
     "raw_caf_remote_ask_4096",
     {},
     remote_call_4096},
    {"raw_caf_remote_commit_1",
     "plain CAF with a commit of plain LMDB in the other process, 1 in flight",
     nullptr,
     {},
     raw_caf_remote_commit_1},
    {"remote_command_1",
     "durable commands to entities of another process, 1 in flight",
     "raw_caf_remote_commit_1",
     {},
     remote_command_1},
    {"remote_command_256",
     "durable commands to entities of another process, 256 in flight",
     "raw_caf_remote_ask_256",
     {},
     remote_command_256},
    {"remote_feed", "reading the events of another process", nullptr, {}, remote_feed},
    {"cold_entities", "waking entities of 10 events", nullptr, {}, cold_entities},
    {"entity_memory", "memory of an idle resident entity", nullptr, {}, entity_memory},
};

/// The scenarios to run: all, or those named, what they are compared with, and what these need.
std::set<std::string> select(const std::vector<std::string>& only) {
  std::set<std::string> wanted{only.begin(), only.end()};
  for (bool grown = true; grown;) {
    auto size = wanted.size();
    for (auto& s : scenarios)
      if (wanted.contains(s.name)) {
        if (s.baseline)
          wanted.insert(s.baseline);
        wanted.insert(s.needs.begin(), s.needs.end());
      }
    grown = wanted.size() != size;
  }
  return wanted;
}

/// Scenarios that read what `open_journal` wrote share its folder.
std::string folder_of(const scenario& s) {
  return s.needs == std::vector<const char*>{"open_journal"} || std::string{s.name} == "open_journal"
             ? "million"
             : s.name;
}

/// Of a scenario that has a baseline which was measured, too.
double ratio_of(const scenario& s, const run_context& context) {
  auto& f = context.done.at(s.name);
  return f.ratio > 0 ? f.ratio : f.value / context.done.at(s.baseline).value;
}

std::string ratio_text(const scenario& s, const run_context& context) {
  if (!s.baseline || !context.done.contains(s.baseline))
    return "";
  char text[64];
  std::snprintf(text, sizeof(text), "%.2g of %s", ratio_of(s, context), s.baseline);
  return text;
}

void print_table(const run_context& context) {
  std::printf("\n%-24s %14s %-11s %10s %10s   %s\n", "", "", "", "p50 us", "p99 us", "");
  for (auto& s : scenarios) {
    auto i = context.done.find(s.name);
    if (i == context.done.end())
      continue;
    auto& f = i->second;
    std::printf("%-24s %14.*f %-11s", s.name, f.value < 10 ? 4 : 0, f.value, f.unit.c_str());
    if (f.p99_us > 0)
      std::printf(" %10.0f %10.0f", f.p50_us, f.p99_us);
    else
      std::printf(" %10s %10s", "", "");
    std::printf("   %s\n", ratio_text(s, context).c_str());
  }
}

nlohmann::ordered_json to_json(const run_context& context) {
  nlohmann::ordered_json results = nlohmann::ordered_json::object();
  for (auto& s : scenarios) {
    auto i = context.done.find(s.name);
    if (i == context.done.end())
      continue;
    auto& f = i->second;
    auto& r = results[s.name];
    // The figure stands under one name whatever its unit, which `unit` tells.
    r["per_second"] = f.value;
    r["unit"] = f.unit;
    r["p50_us"] = f.p50_us > 0 ? nlohmann::ordered_json(f.p50_us) : nullptr;
    r["p99_us"] = f.p99_us > 0 ? nlohmann::ordered_json(f.p99_us) : nullptr;
    r["note"] = f.note;
    if (s.baseline && context.done.contains(s.baseline))
      r[std::string{"of_"} + s.baseline] = ratio_of(s, context);
  }
  return {{"results", results}};
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures eventcore against the bare parts that it is made of, all in one run on one disk."};
  app.name("bench/run");
  run_context context;
  std::string json_file;
  std::vector<std::string> only;
  std::string base = std::filesystem::current_path().string();
  std::string million;
  std::vector<std::string> names;
  for (auto& s : scenarios)
    names.emplace_back(s.name);
  app.add_flag("--quick", context.quick, "Shorter runs: about a minute in all");
  app.add_option("--json", json_file, "Also write the results to this file");
  app.add_option("--only", only, "Run this scenario, and what it is compared with; may be repeated")
      ->check(CLI::IsMember(names));
  app.add_option("--dir", base, "Where to put the journals, on the disk to be measured")
      ->capture_default_str();
  app.add_option("--write-million-events", million)->group("");
  std::string served;
  app.add_option("--serve-remote", served)->group("");
  std::size_t served_events = 0;
  app.add_option("--serve-events", served_events)->group("");
  std::string list = "Scenarios:\n";
  for (auto& s : scenarios)
    list +=
        "  " + std::string{s.name} + std::string(24 - std::string_view{s.name}.size(), ' ') + s.what + "\n";
  app.footer(list);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (!served.empty())
    return serve_remote(served, served_events);
  if (!million.empty())
    write_million_events_and_die(million);

  auto root = std::filesystem::path{base} / ("eventcore-bench-" + std::to_string(::getpid()));
  auto wanted = select(only);
  int status = 0;
  try {
    for (auto& s : scenarios) {
      if (!only.empty() && !wanted.contains(s.name))
        continue;
      context.dir = root / folder_of(s);
      std::filesystem::create_directories(context.dir);
      std::cerr << s.name << ": " << s.what << " ..." << std::flush;
      auto f = context.done.emplace(s.name, s.run(context)).first->second;
      std::cerr << ' ' << f.note << '\n';
      if (folder_of(s) == s.name)
        std::filesystem::remove_all(context.dir);
    }
    print_table(context);
    if (!json_file.empty()) {
      std::ofstream out{json_file};
      out << to_json(context).dump(2) << '\n';
      if (!out.flush())
        throw std::runtime_error("cannot write " + json_file);
    }
  } catch (const std::exception& e) {
    std::cerr << "bench/run: " << e.what() << '\n';
    status = 1;
  }
  std::filesystem::remove_all(root);
  return status;
}
