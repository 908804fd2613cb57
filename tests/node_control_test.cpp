// The control socket of a node.

#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/internal/control/control_client.hpp>
#include <eventcore/runtime/node.hpp>

#include <nlohmann/json.hpp>

#include <fstream>

#include <unistd.h>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;

BOOST_AUTO_TEST_CASE(a_node_listens_in_the_folder_of_its_journal) {
  temp_dir dir;
  node_options options;
  options.journal_dir = dir.path() / "journal";
  const auto socket = options.journal_dir / control_socket;
  {
    auto n = must(node::open(options));
    auto client = must(control_client::connect(options.journal_dir, patience));
    auto refused = client.ask(
        {{"request", "sagas.operate"}, {"category", "trip"}, {"id", "1"}, {"action", "retry"}, {"why", ""}},
        patience);
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code() == make_error_code(control_errc::refused)));
    BOOST_TEST(refused.error().reason() == "not_run_here");
    auto moved = std::move(n);
    BOOST_TEST(must(control_client::connect(options.journal_dir, patience)).pid() == ::getpid());
  }
  BOOST_TEST(!std::filesystem::exists(socket));
  node{open_memory_journal()};
}

BOOST_AUTO_TEST_CASE(a_node_runs_without_a_control_socket_where_none_can_be_made) {
  temp_dir dir;
  node_options options;
  options.journal_dir = dir.path();
  must(open_lmdb_journal(dir.path()))->close();
  std::ofstream{dir.path() / control_socket} << "mine";
  {
    auto n = must(node::open(options));
    BOOST_TEST(must(n.journal().head()) == 0u);
  }
  BOOST_TEST(std::filesystem::file_size(dir.path() / control_socket) == 4u);
}
