#include "support/program.hpp"

#include <eventcore/persistence/errc.hpp>
#include <eventcore/runtime/node_options.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace std::literals;

namespace {

template <class T>
std::string why(const result<T>& r) {
  return r ? "" : r.error().message();
}

struct folder : test::temp_dir {
  std::string write(const std::string& name, const std::string& content) const {
    const auto file = path() / name;
    std::ofstream{file} << content;
    return file.string();
  }

  std::string complaint(const std::string& content) const {
    const auto file = write("node.ini", content);
    const auto read = read_config_file(file);
    if (!read)
      BOOST_TEST((read.error().code() == journal_errc::invalid_argument));
    const auto text = why(read);
    return text.starts_with(file) ? text.substr(file.size() + 1) : text;
  }
};

void contains(const std::string& text, std::string_view part) {
  BOOST_TEST(text.find(part) != std::string::npos, '"' << text << "\" does not contain \"" << part << '"');
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(node_options_test, folder)

BOOST_AUTO_TEST_CASE(a_file_sets_every_option) {
  const auto pem = write("node.pem", "");
  const auto read = read_config_file(write("node.ini", R"(; a node of the shop
[eventcore]
name = "payment-1"
service = "payment"
journal = "/var/lib/shop"
durability = "relaxed"
threads = 3
max-throughput = 50
stop-within = 5s
[eventcore.cluster]
id = "shop"
listen = "10.0.0.1:7000" ; behind the firewall
peers = ["10.0.0.2:7000", "[::1]:7001"]
insecure = true
heartbeat = 100ms
silence = 1s
max-message = 65536
max-connections = 7
max-in-flight = 9
max-waiting-bytes = 70000
advertise = "shop.example:7000"
version = "2"
patience = 0s
call-limit = 1min
handshake-limit = 1s
reconnect = 10ms
max-reconnect = 1s
[eventcore.tls]
certificate = ")" + pem + R"("
key = ")" + pem + R"("
ca = ")" + pem + R"("
[eventcore.admin]
listen = "127.0.0.1:0"
)"));
  BOOST_REQUIRE_MESSAGE(read, why(read));
  BOOST_TEST(read->name == "payment-1");
  BOOST_TEST(read->journal.service == "payment");
  BOOST_TEST(read->journal_dir == "/var/lib/shop");
  BOOST_TEST((read->journal.durability == durability::relaxed));
  BOOST_TEST(read->threads == 3u);
  BOOST_TEST(read->max_throughput == 50u);
  BOOST_TEST((read->stop_within == 5s));
  BOOST_REQUIRE(read->cluster);
  auto& c = *read->cluster;
  BOOST_TEST(c.id == "shop");
  BOOST_TEST(c.listen == "10.0.0.1:7000");
  BOOST_TEST(c.peers == (std::vector<std::string>{"10.0.0.2:7000", "[::1]:7001"}),
             boost::test_tools::per_element());
  BOOST_TEST(c.insecure);
  BOOST_TEST((c.heartbeat == 100ms && c.silence == 1s));
  BOOST_TEST(c.max_message == 65'536u);
  BOOST_TEST(c.max_connections == 7u);
  BOOST_TEST(c.max_in_flight == 9u);
  BOOST_TEST(c.max_waiting_bytes == 70'000u);
  BOOST_TEST(c.advertise == "shop.example:7000");
  BOOST_TEST(c.version == "2");
  BOOST_TEST((c.patience == 0s && c.call_limit == 1min && c.handshake_limit == 1s));
  BOOST_TEST((c.reconnect == 10ms && c.max_reconnect == 1s));
  BOOST_REQUIRE(c.tls);
  BOOST_TEST(c.tls->ca == pem);
  BOOST_TEST(read->admin.listen == "127.0.0.1:0");
}

BOOST_AUTO_TEST_CASE(nested_groups_of_the_file_may_be_written_as_maps) {
  const auto read = read_config_file(
      write("node.ini", "eventcore {\n  name = \"a\"\n  cluster {\n    id = \"b\"\n  }\n}\n"));
  BOOST_REQUIRE_MESSAGE(read, why(read));
  BOOST_TEST(read->name == "a");
  BOOST_TEST(read->cluster->id == "b");
}

BOOST_AUTO_TEST_CASE(what_a_file_may_not_say_is_named_with_line_and_key) {
  auto said = complaint("[eventcore]\nname = \"a\"\n\njurnal = \"data\"\n");
  contains(said, "4: there is no option eventcore.jurnal; the keys of [eventcore] are name, service, "
                 "journal, durability");
  said = complaint("[eventcore.clutser]\nlisten = \"a:1\"\n");
  contains(said,
           "2: there is no option eventcore.clutser.listen; the groups are [eventcore], [eventcore.cluster]");
  contains(complaint("name = \"a\"\n"), "1: there is no option name; the groups are [eventcore]");
  contains(complaint("[scheduler]\nmax-threads = 2\n"), "2: there is no option scheduler.max-threads");
  contains(complaint("config-file = \"other.ini\"\n"), "1: there is no option config-file");
  contains(complaint("[eventcore]\nthreads = \"two\"\n"),
           "2: eventcore.threads = \"two\": it must be of type integer");
  contains(complaint("[eventcore]\nthreads = -1\n"), "2: eventcore.threads = -1: it must be of type integer");
  contains(complaint("[eventcore]\nthreads = 1025\n"), "it must be 0 to 1024");
  contains(complaint("[eventcore]\nname = 'atom'\n"), "it must be of type string: \"text\"");
  contains(complaint("[eventcore]\nname = \"\"\n"), "must not be empty");
  contains(complaint("[eventcore]\nstop-within = 5\n"),
           "it must be of type timespan: a number with a unit, such as 500ms");
  contains(complaint("[eventcore]\nstop-within = 1us\n"), "it must be 100ms to 3600s");
  contains(complaint("[eventcore]\ndurability = \"none\"\n"), "must be \"fsync\" or \"relaxed\"");
  contains(complaint("[eventcore.cluster]\npeers = \"a:1\"\n"),
           "it must be of type list of string: [\"a\", \"b\"]");
  contains(complaint("[eventcore.cluster]\npeers = [\"a:1\", 7]\n"), "it must be of type list of string");
  contains(complaint("[eventcore.cluster]\npeers = [\"a:1\", \"b\"]\n"), "\"b\" is none");
  contains(complaint("[eventcore.cluster]\npeers = [\"a:0\"]\n"), "\"a:0\" is none");
  for (auto address : {"a", ":1", "a:", "a:x", "a:65536", "a:-1", "::1:80", "[]:80"})
    contains(complaint("[eventcore.cluster]\nlisten = \""s + address + "\"\n"), "it must be host:port");
  contains(complaint("[eventcore.cluster]\ninsecure = 1\n"), "it must be of type boolean: true or false");
  contains(complaint("[eventcore.trace]\nsample = \"x\"\n"), "it must be of type real: a number such as");
  contains(complaint("[eventcore.trace]\nsample = 2\n"), "it must be 0 to 1");
  BOOST_TEST(complaint("[eventcore.trace]\nsample = 1\n") == "");
  contains(complaint("[eventcore]\nname = \"a\"\nname = \"b\"\n"),
           "3: eventcore.name is set in line 2 already");
  contains(complaint("[eventcore]\nname = \"a\"\n[eventcore.cluster]\n[eventcore]\nname = \"b\"\n"),
           "5: eventcore.name is set in line 2 already");
}

BOOST_AUTO_TEST_CASE(options_that_belong_together_are_checked_together) {
  const auto pem = write("node.pem", "");
  contains(complaint("[eventcore.tls]\nkey = \"" + pem + "\"\n"), "eventcore.tls.certificate is missing");
  contains(complaint("[eventcore.tls]\nkey = \"" + pem + "x\"\n"), "2: eventcore.tls.key");
  contains(complaint("[eventcore.cluster]\nheartbeat = 2s\nsilence = 2s\n"), "silence must be longer");
  // A command line may complete a file.
  const auto file = write("node.ini", "[eventcore.tls]\nkey = \"" + pem + "\"\n");
  const auto read = read_command_line(
      {"--config-file", file, "--eventcore.tls.certificate=" + pem, "--eventcore.tls.ca", pem});
  BOOST_TEST(why(read) == "");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_none_is_named_with_the_line) {
  contains(complaint("[eventcore]\nname = a\n"),
           "2: column 8: unexpected_character; a configuration file has groups");
  contains(complaint("[eventcore]\n# no comment\n"), "2: column 1");
  contains(complaint("[eventcore\n"), "1: column 11: unexpected");
  contains(complaint("[eventcore]\nname =\nservice = \"x\"\n"), "2: column 7: unexpected");
  contains(complaint("[eventcore]\nname = \"x"), "2: column 10: unexpected");
  const auto missing = read_config_file(path() / "missing.ini");
  BOOST_REQUIRE(!missing);
  contains(missing.error().message(), "missing.ini: the configuration file cannot be read: No such file");
  const auto folder = read_config_file(path());
  BOOST_REQUIRE(!folder);
  contains(folder.error().message(), "the configuration file cannot be read: Is a directory");
  BOOST_TEST(complaint("") == "");
  BOOST_TEST(complaint("; nothing\n\n[eventcore]\n") == "");
}

BOOST_AUTO_TEST_CASE(the_command_line_takes_precedence_over_the_file_and_both_over_the_defaults) {
  node_options defaults;
  defaults.name = "default";
  defaults.threads = 7;
  defaults.journal_dir = "of-the-program";
  const auto file = write("node.ini", "[eventcore]\nname = \"of-the-file\"\nthreads = 2\n");
  const auto read = read_command_line({"--threads=5", "--config-file", file}, defaults);
  BOOST_REQUIRE_MESSAGE(read, why(read));
  BOOST_TEST(read->options.name == "of-the-file");
  BOOST_TEST(read->options.threads == 5u);
  BOOST_TEST(read->options.journal_dir == "of-the-program");
}

BOOST_AUTO_TEST_CASE(a_command_line_has_short_and_full_names_with_and_without_equals_sign) {
  const auto read =
      read_command_line({"--journal", "a b", "--eventcore.name=n", "--durability=relaxed", "--peers",
                         "h:1,i:2", "--insecure", "--eventcore.cluster.silence", "4s"});
  BOOST_REQUIRE_MESSAGE(read, why(read));
  BOOST_TEST(read->options.journal_dir == "a b");
  BOOST_TEST(read->options.name == "n");
  BOOST_TEST(read->options.cluster->peers.size() == 2u);
  BOOST_TEST(read->options.cluster->insecure);
  BOOST_TEST((read->options.cluster->silence == 4s));
  BOOST_TEST(read->rest.empty());
}

BOOST_AUTO_TEST_CASE(what_is_not_the_nodes_is_left_to_the_program) {
  const auto read =
      read_command_line({"orders.jsonl", "--first", "10", "--threads", "1", "--help", "--", "--threads"});
  BOOST_REQUIRE_MESSAGE(read, why(read));
  BOOST_TEST(read->options.threads == 1u);
  BOOST_TEST(read->rest == (std::vector<std::string>{"orders.jsonl", "--first", "10", "--help", "--threads"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_command_line_that_is_wrong_names_the_option_and_what_is_allowed) {
  contains(why(read_command_line({"--threads"})), "--threads: a value is missing");
  contains(why(read_command_line({"--threads", "two"})), "--threads two: it must be of type integer");
  contains(why(read_command_line({"--threads=2000"})), "--threads 2000: it must be 0 to 1024");
  contains(why(read_command_line({"--insecure=false"})), "--insecure takes no value");
  contains(why(read_command_line({"--journal="})), "must not be empty");
}

BOOST_AUTO_TEST_CASE(help_and_the_manual_list_every_option) {
  const auto help = node_options_help();
  std::ifstream in{EVENTCORE_SOURCE_DIR "/runtime/README.md"};
  const std::string manual{std::istreambuf_iterator<char>{in}, {}};
  for (auto key : {"name", "service", "journal", "durability", "threads", "max-throughput", "stop-within",
                   "listen", "peers", "insecure", "config-file"})
    contains(help, "--"s + key);
  for (auto name : {"eventcore.cluster.id", "eventcore.cluster.heartbeat", "eventcore.cluster.silence",
                    "eventcore.cluster.max-message", "eventcore.cluster.max-connections",
                    "eventcore.cluster.max-in-flight", "eventcore.tls.certificate", "eventcore.tls.key",
                    "eventcore.tls.ca", "eventcore.admin.listen"})
    contains(help, "--"s + name);
  std::istringstream lines{help};
  for (std::string line; std::getline(lines, line);)
    if (const auto at = line.find("--"); at != std::string::npos) {
      const auto name = line.substr(at + 2, line.find_first_of("= ", at) - at - 2);
      BOOST_TEST((manual.find('`' + name + '`') != std::string::npos ||
                  manual.find("`--" + name + '`') != std::string::npos),
                 "runtime/README.md says nothing of " << name);
    }
}

BOOST_AUTO_TEST_CASE(a_program_of_twenty_lines_takes_them_all) {
  const auto file = write("node.ini", "[eventcore]\njournal = \"" + (path() / "data").string() + "\"\n");
  auto run = test::run_program("account", {"--config-file", file});
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(std::filesystem::exists(path() / "data" / "data.mdb"));
  run = test::run_program("account", {"--help"});
  BOOST_TEST(run.exit_code == 0);
  BOOST_TEST(run.printed("--eventcore.tls.certificate="));
  run = test::run_program("account", {"--fast"});
  BOOST_TEST(run.exit_code == 2);
  BOOST_TEST(run.complained("there is no option --fast"));
  run = test::run_program("account", {"--config-file", write("bad.ini", "[eventcore]\nspeed = 1\n")});
  BOOST_TEST(run.exit_code == 2);
  BOOST_TEST(run.complained("bad.ini:2: there is no option eventcore.speed"));
}

BOOST_AUTO_TEST_SUITE_END()
