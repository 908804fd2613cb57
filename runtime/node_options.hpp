#pragma once

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/admin_options.hpp>
#include <eventcore/runtime/cluster_options.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace eventcore {

/// What a node is made of.
struct node_options {
  /// Of the node; empty: the program's name. It is the service's id where nothing else says one.
  std::string name{};
  std::filesystem::path journal_dir = "data";
  /// `journal.service` and `journal.categories` say which service runs here and which categories of streams it owns: a
  /// command that would append to any other is answered `not_owned` (spec 1).
  lmdb_options journal{};
  /// Threads of the actor scheduler; 0: one for each core.
  std::size_t threads = 0;
  /// Messages an actor may take before it must let others run.
  std::size_t max_throughput = 300;
  /// How long the end of a node may take, all in all; see `node::stop`.
  std::chrono::milliseconds stop_within{20'000};
  /// Makes the node one of a cluster: see `node::join`.
  std::optional<cluster_options> cluster{};
  /// How the node is seen from outside.
  admin_options admin{};
  trace_options trace{};
  log_options log{};
  /// False: the node's parts count nothing, and `/metrics` shows the journal alone.
  bool metrics = true;
};

/// What a command line came to.
struct node_command_line {
  node_options options;
  /// The arguments that are none of the node's, in their order: for the program's own parser.
  std::vector<std::string> rest;
};

/// Reads the options of a node from a command line (without the program's name) and from the file that `--config-file`
/// names; the command line takes precedence over the file, and both over `defaults`. `runtime/README.md` lists them.
///
/// An argument that is no option of a node goes into `rest`, `--help` included, and so do all behind `--`; whoever has no options of
/// its own must refuse them. Error: `invalid_argument`, naming the option or file and line, and what is allowed.
result<node_command_line> read_command_line(const std::vector<std::string>& args, node_options defaults = {});

/// Reads a configuration file in CAF's INI syntax. An unknown group or key, a key that is set twice, a value of a wrong type or
/// out of its bounds is `invalid_argument`, naming file, line and key, and what is allowed.
result<node_options> read_config_file(const std::filesystem::path& file, node_options defaults = {});

/// All options, one a line, for `--help`.
std::string node_options_help();

} // namespace eventcore
