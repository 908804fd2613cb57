#include <eventcore/runtime/node_options.hpp>

#include <eventcore/persistence/errc.hpp>
#include <eventcore/runtime/internal/config_file.hpp>

#include <caf/config_option_adder.hpp>
#include <caf/config_option_set.hpp>
#include <caf/timespan.hpp>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>

namespace eventcore {

namespace {

using namespace std::literals;
using std::chrono::milliseconds;
using strings = std::vector<std::string>;

std::string text_of(caf::string_view text) {
  return {text.begin(), text.end()};
}

/// What is wrong with a value, as in "must be ..."; empty if nothing is.
using complaint = std::string;

complaint put_text(std::string& to, std::string text) {
  if (text.empty())
    return "must not be empty";
  to = std::move(text);
  return {};
}

complaint put_number(std::size_t& to, std::int64_t n, std::int64_t least, std::int64_t most) {
  if (n < least || n > most)
    return "must be " + std::to_string(least) + " to " + std::to_string(most);
  to = static_cast<std::size_t>(n);
  return {};
}

complaint put_time(milliseconds& to, caf::timespan time, milliseconds least, milliseconds most) {
  if (time < least || time > most)
    return "must be " + std::to_string(least.count()) + "ms to " + std::to_string(most.count() / 1'000) + "s";
  to = std::chrono::floor<milliseconds>(time);
  return {};
}

/// `host:port`, with an IPv6 address in brackets.
bool is_address(const std::string& text, unsigned least_port) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return false;
  const auto host = text.substr(0, colon);
  if (host.front() == '[' ? host.back() != ']' || host.size() < 3 : host.find(':') != std::string::npos)
    return false;
  const auto* end = text.data() + text.size();
  unsigned port = 0;
  const auto [last, problem] = std::from_chars(text.data() + colon + 1, end, port);
  return problem == std::errc{} && last == end && port >= least_port && port <= 65'535;
}

complaint put_listener(std::string& to, std::string address) {
  if (!is_address(address, 0))
    return "must be host:port, such as \"127.0.0.1:7000\"; port 0 takes a free one";
  to = std::move(address);
  return {};
}

complaint put_peers(strings& to, strings addresses) {
  for (auto& address : addresses)
    if (!is_address(address, 1))
      return "must be a list of host:port, such as [\"10.0.0.2:7000\"]; \"" + address + "\" is none";
  to = std::move(addresses);
  return {};
}

complaint put_file(std::filesystem::path& to, const std::string& name) {
  if (std::error_code ignored; !std::filesystem::is_regular_file(name, ignored))
    return "must be a file in PEM; there is no file " + name;
  to = name;
  return {};
}

cluster_options& cluster_of(node_options& o) {
  return o.cluster ? *o.cluster : o.cluster.emplace();
}

consul_options& consul_of(node_options& o) {
  auto& cluster = cluster_of(o);
  return cluster.consul ? *cluster.consul : cluster.consul.emplace();
}

tls_options& tls_of(node_options& o) {
  auto& cluster = cluster_of(o);
  return cluster.tls ? *cluster.tls : cluster.tls.emplace();
}

/// All options, with what takes their values over.
class option_table {
public:
  static const option_table& get() {
    static const option_table table;
    return table;
  }

  const caf::config_option_set& options() const { return set_; }

  /// Takes over `value`, which is of the option's type or not.
  complaint take(const caf::config_option& option, const caf::config_value& value, node_options& to) const {
    using whole_number = caf::config_value::integer;
    if (is_real(option) && caf::holds_alternative<whole_number>(value)) // such as 1
      return take(option, caf::config_value{static_cast<double>(caf::get<whole_number>(value))}, to);
    if (option.check(value))
      return "must be of type " + wanted(option);
    return takers_.at(name_of(option))(value, to);
  }

  static std::string wanted(const caf::config_option& option) {
    const auto type = text_of(option.type_name());
    return type == "boolean"          ? "boolean: true or false"
           : type == "string"         ? "string: \"text\""
           : type == "timespan"       ? "timespan: a number with a unit, such as 500ms, 10s or 2min"
           : type == "list of string" ? "list of string: [\"a\", \"b\"]"
           : is_real(option)          ? "real: a number such as 0.01"
                                      : "integer: a whole number that is not negative";
  }

  /// As in a file: `eventcore.journal`.
  static std::string name_of(const caf::config_option& option) {
    return text_of(option.category()) + '.' + text_of(option.long_name());
  }

  std::string keys_of(const std::string& group) const {
    std::string keys;
    for (auto& option : set_)
      if (text_of(option.category()) == group && group != "global")
        keys += (keys.empty() ? "" : ", ") + text_of(option.long_name());
    return keys;
  }

  std::string groups() const {
    strings found;
    for (auto& option : set_)
      if (auto group = text_of(option.category());
          group != "global" && std::ranges::find(found, group) == found.end())
        found.push_back(std::move(group));
    std::string all;
    for (auto& group : found)
      all += (all.empty() ? "[" : ", [") + group + ']';
    return all;
  }

private:
  static bool is_real(const caf::config_option& option) { return option.type_name() == "real64"; }

  /// A group of options. One with a question mark before its name takes them without the group's name on the command line.
  class group {
  public:
    group(option_table& table, const char* name)
        : table_{table}
        , name_{*name == '?' ? name + 1 : name}
        , adder_{table.set_, name} {}

    template <class T, class F>
    group& add(const char* key, const char* description, F take) {
      adder_.add<T>(key, description);
      table_.takers_.emplace(name_ + '.' + key, [take](const caf::config_value& value, node_options& to) {
        return take(to, caf::get<T>(value));
      });
      return *this;
    }

  private:
    option_table& table_;
    std::string name_;
    caf::config_option_adder adder_;
  };

  option_table() {
    using options = node_options;
    using span = caf::timespan;
    caf::config_option_adder{set_, "global"}.add<std::string>("config-file",
                                                              "a file that sets any of these options");
    group{*this, "?eventcore"}
        .add<std::string>("name", "of the node (default: the program's name)",
                          [](options& o, auto v) { return put_text(o.name, std::move(v)); })
        .add<std::string>(
            "service",
            "id of the service that runs here (default: the journal's, else SERVICE_ID, else the name)",
            [](options& o, auto v) { return put_text(o.journal.service, std::move(v)); })
        .add<std::string>("journal", "folder of the journal; made if there is none (default: data)",
                          [](options& o, auto v) {
                            std::string dir;
                            auto wrong = put_text(dir, std::move(v));
                            if (wrong.empty())
                              o.journal_dir = dir;
                            return wrong;
                          })
        .add<std::string>(
            "durability",
            "fsync (default): what is acknowledged is on disk; relaxed: it will be, within milliseconds",
            [](options& o, auto v) -> complaint {
              if (v != "fsync" && v != "relaxed")
                return "must be \"fsync\" or \"relaxed\"";
              o.journal.durability = v == "fsync" ? durability::fsync : durability::relaxed;
              return {};
            })
        .add<std::size_t>(
            "threads", "threads for actors, 1,024 at most (default: 0, one for each core)",
            [](options& o, auto v) { return put_number(o.threads, static_cast<std::int64_t>(v), 0, 1'024); })
        .add<std::size_t>("max-throughput",
                          "messages that an actor may take before others run (default: 300)",
                          [](options& o, auto v) {
                            return put_number(o.max_throughput, static_cast<std::int64_t>(v), 1, 1'000'000);
                          })
        .add<span>("stop-within", "how long the end of the node may take (default: 20s)",
                   [](options& o, auto v) { return put_time(o.stop_within, v, 100ms, 1h); });
    group{*this, "?eventcore.cluster"}
        .add<std::string>(
            "listen",
            "host:port at which other nodes reach this one; port 0 takes a free one (default: nowhere)",
            [](options& o, auto v) { return put_listener(cluster_of(o).listen, std::move(v)); })
        .add<strings>("peers", "host:port of the other nodes, separated by commas (default: none)",
                      [](options& o, auto v) { return put_peers(cluster_of(o).peers, std::move(v)); })
        .add<bool>("insecure", "allows to listen without TLS on an address that is not loopback",
                   [](options& o, auto v) {
                     cluster_of(o).insecure = v;
                     return complaint{};
                   });
    group{*this, "eventcore.cluster"}
        .add<std::string>("id", "of the cluster; nodes of another one refuse this one (default: eventcore)",
                          [](options& o, auto v) { return put_text(cluster_of(o).id, std::move(v)); })
        .add<span>("heartbeat", "how often a node says that it is there (default: 500ms)",
                   [](options& o, auto v) { return put_time(cluster_of(o).heartbeat, v, 10ms, 60s); })
        .add<span>("silence", "a peer that was silent for so long is unreachable (default: 3s)",
                   [](options& o, auto v) { return put_time(cluster_of(o).silence, v, 20ms, 600s); })
        .add<span>("patience",
                   "calls wait so long for a service that was lost and may be restarting (default: 3s)",
                   [](options& o, auto v) { return put_time(cluster_of(o).patience, v, 0ms, 600s); })
        .add<span>("call-limit", "of calls that bring no deadline (default: 30s)",
                   [](options& o, auto v) { return put_time(cluster_of(o).call_limit, v, 10ms, 1h); })
        .add<span>("handshake-limit", "until a new connection has said who it is (default: 5s)",
                   [](options& o, auto v) { return put_time(cluster_of(o).handshake_limit, v, 10ms, 60s); })
        .add<span>("reconnect",
                   "first pause before a lost peer is connected again, doubled each time (default: 50ms)",
                   [](options& o, auto v) { return put_time(cluster_of(o).reconnect, v, 1ms, 60s); })
        .add<span>("max-reconnect", "longest pause before a lost peer is connected again (default: 2s)",
                   [](options& o, auto v) { return put_time(cluster_of(o).max_reconnect, v, 1ms, 600s); })
        .add<std::size_t>("max-message", "bytes of one command, answer or event (default: 1048576)",
                          [](options& o, auto v) {
                            return put_number(cluster_of(o).max_message, static_cast<std::int64_t>(v), 1'024,
                                              16 << 20);
                          })
        .add<std::size_t>("max-connections", "connections from other nodes (default: 256)",
                          [](options& o, auto v) {
                            return put_number(cluster_of(o).max_connections, static_cast<std::int64_t>(v), 1,
                                              65'536);
                          })
        .add<std::size_t>("max-in-flight", "calls to one peer that are not answered yet (default: 8192)",
                          [](options& o, auto v) {
                            return put_number(cluster_of(o).max_in_flight, static_cast<std::int64_t>(v), 1,
                                              1'000'000);
                          })
        .add<std::size_t>("max-waiting-bytes", "bytes to one peer that wait to be sent (default: 67108864)",
                          [](options& o, auto v) {
                            return put_number(cluster_of(o).max_waiting_bytes, static_cast<std::int64_t>(v),
                                              65'536, std::int64_t{1} << 34);
                          })
        .add<std::string>("advertise",
                          "host:port at which others are told to reach this node (default: listen)",
                          [](options& o, auto v) -> complaint {
                            if (!is_address(v, 1))
                              return "must be host:port, such as \"10.0.0.1:7000\"";
                            cluster_of(o).advertise = std::move(v);
                            return {};
                          })
        .add<std::string>("version", "of the service that runs here, for the registry (default: 1)",
                          [](options& o, auto v) { return put_text(cluster_of(o).version, std::move(v)); });
    group{*this, "eventcore.tls"}
        .add<std::string>("certificate", "file with the node's certificate (default: no TLS)",
                          [](options& o, auto v) { return put_file(tls_of(o).certificate, v); })
        .add<std::string>("key", "file with the certificate's private key",
                          [](options& o, auto v) { return put_file(tls_of(o).key, v); })
        .add<std::string>("ca", "file with the authority whose certificates all nodes of the cluster have",
                          [](options& o, auto v) { return put_file(tls_of(o).ca, v); });
    group{*this, "eventcore.consul"}
        .add<std::string>("url",
                          "http://host:port of Consul's agent, to register and to find services (default: "
                          "nodes only tell each other)",
                          [](options& o, auto v) { return put_text(consul_of(o).url, std::move(v)); })
        .add<std::string>("token", "for Consul; other users of the machine see what the command line says",
                          [](options& o, auto v) { return put_text(consul_of(o).token, std::move(v)); })
        .add<std::string>("ca", "file with the authority that vouches for an https agent",
                          [](options& o, auto v) {
                            std::filesystem::path file;
                            auto wrong = put_file(file, v);
                            consul_of(o).ca_file = file;
                            return wrong;
                          })
        .add<span>("time-to-live", "a node that was silent for so long has left Consul (default: 15s)",
                   [](options& o, auto v) { return put_time(consul_of(o).time_to_live, v, 1s, 1h); });
    group{*this, "eventcore.admin"}.add<std::string>(
        "listen", "host:port of /metrics and /health; port 0 takes a free one (default: nowhere)",
        [](options& o, auto v) { return put_listener(o.admin.listen, std::move(v)); });
    group{*this, "eventcore.trace"}
        .add<std::string>("endpoint", "http://host:port of an OTLP collector (default: nothing is traced)",
                          [](options& o, auto v) { return put_text(o.trace.endpoint, std::move(v)); })
        .add<double>("sample", "share of the traces that are recorded, 0 to 1 (default: 1)",
                     [](options& o, auto v) -> complaint {
                       if (!(v >= 0 && v <= 1))
                         return "must be 0 to 1";
                       o.trace.sample = v;
                       return {};
                     });
    group{*this, "eventcore.log"}
        .add<std::string>("form", "of the log's lines: text or json (default: as spdlog does by itself)",
                          [](options& o, auto v) -> complaint {
                            if (v != "text" && v != "json")
                              return "must be \"text\" or \"json\"";
                            o.log.enabled = true;
                            o.log.form = v == "json" ? log_form::json : log_form::text;
                            return {};
                          })
        .add<std::string>("file", "that the log is appended to (default: standard error)",
                          [](options& o, auto v) {
                            std::string name;
                            auto wrong = put_text(name, std::move(v));
                            o.log.enabled = wrong.empty() || o.log.enabled;
                            o.log.file = name;
                            return wrong;
                          });
  }

  caf::config_option_set set_;
  std::map<std::string, std::function<complaint(const caf::config_value&, node_options&)>> takers_;
};

error bad(const std::string& what) {
  return make_error(journal_errc::invalid_argument, what);
}

/// What no option alone can tell. `where` is a file or empty.
result<node_options> checked(node_options options, const std::string& where) {
  const auto prefix = where.empty() ? where : where + ": ";
  if (!options.cluster)
    return options;
  if (auto& tls = options.cluster->tls)
    for (auto [file, key] :
         {std::pair{&tls->certificate, "certificate"}, {&tls->key, "key"}, {&tls->ca, "ca"}})
      if (file->empty())
        return bad(prefix + "eventcore.tls." + key + " is missing: certificate, key and ca belong together");
  if (options.cluster->silence <= options.cluster->heartbeat)
    return bad(prefix + "eventcore.cluster.silence must be longer than eventcore.cluster.heartbeat");
  if (options.cluster->max_reconnect < options.cluster->reconnect)
    return bad(prefix +
               "eventcore.cluster.max-reconnect must not be shorter than eventcore.cluster.reconnect");
  return options;
}

/// Takes over what a file says, unchecked as a whole: the command line may complete it.
result<void> apply_file(const std::filesystem::path& file, node_options& to) {
  auto& table = option_table::get();
  auto found = internal::parse_config_file(file);
  if (!found)
    return found.error();
  std::map<std::string, std::int32_t> lines;
  for (auto& entry : *found) {
    const auto where = file.string() + ':' + std::to_string(entry.line) + ": ";
    const auto name = entry.name();
    const auto* option = table.options().qualified_name_lookup(entry.group, entry.key);
    if (!option) {
      const auto keys = table.keys_of(entry.group);
      return bad(where + "there is no option " + name + "; " +
                 (keys.empty() ? "the groups are " + table.groups()
                               : "the keys of [" + entry.group + "] are " + keys));
    }
    if (auto [known, fresh] = lines.emplace(name, entry.line); !fresh)
      return bad(where + name + " is set in line " + std::to_string(known->second) + " already");
    if (auto wrong = table.take(*option, entry.value, to); !wrong.empty())
      return bad(where + name + " = " + to_string(entry.value) + ": it " + wrong);
  }
  return {};
}

/// An argument that sets an option.
struct assignment {
  std::string argument; ///< as it was given, for messages
  const caf::config_option* option;
  caf::config_value value;
};

struct split_command_line {
  std::vector<assignment> ours;
  strings rest;
};

result<split_command_line> split(const strings& args) {
  auto& options = option_table::get().options();
  split_command_line found;
  for (auto i = args.begin(); i != args.end(); ++i) {
    if (*i == "--") {
      found.rest.insert(found.rest.end(), i + 1, args.end());
      break;
    }
    const auto equals = std::min(i->find('='), i->size());
    const auto* option =
        i->starts_with("--") ? options.cli_long_name_lookup(i->substr(2, equals - 2)) : nullptr;
    if (!option) {
      found.rest.push_back(*i);
      continue;
    }
    const auto name = i->substr(0, equals);
    const bool has_value = equals < i->size();
    if (option->is_flag()) {
      if (has_value)
        return bad(*i + ": " + name + " takes no value");
      found.ours.push_back({name, option, caf::config_value{true}});
      continue;
    }
    if (!has_value && i + 1 == args.end())
      return bad(name + ": a value is missing");
    const auto text = has_value ? i->substr(equals + 1) : *++i;
    auto value = option->parse(text);
    if (!value)
      return bad(name + ' ' + text + ": it must be of type " + option_table::wanted(*option));
    found.ours.push_back({name + ' ' + text, option, std::move(*value)});
  }
  return found;
}

} // namespace

result<node_command_line> read_command_line(const strings& args, node_options defaults) {
  auto found = split(args);
  if (!found)
    return found.error();
  const auto is_file = [](const assignment& a) { return a.option->long_name() == "config-file"; };
  std::string file;
  for (auto& a : found->ours)
    if (is_file(a)) {
      file = caf::get<std::string>(a.value);
      if (file.empty())
        return bad("--config-file: it must not be empty");
    }
  if (!file.empty())
    if (auto applied = apply_file(file, defaults); !applied)
      return applied.error();
  for (auto& a : found->ours)
    if (!is_file(a))
      if (auto wrong = option_table::get().take(*a.option, a.value, defaults); !wrong.empty())
        return bad(a.argument + ": it " + wrong);
  auto options = checked(std::move(defaults), file);
  if (!options)
    return options.error();
  return node_command_line{*std::move(options), std::move(found->rest)};
}

result<node_options> read_config_file(const std::filesystem::path& file, node_options defaults) {
  if (auto applied = apply_file(file, defaults); !applied)
    return applied.error();
  return checked(std::move(defaults), file.string());
}

std::string node_options_help() {
  return option_table::get().options().help_text(false);
}

} // namespace eventcore
