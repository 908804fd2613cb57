// Who is let in, who is not, and what strangers and nonsense do to a node's port.

#include "support/cluster_process.hpp"
#include "support/raw_server.hpp"

#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/internal/cluster/wire.hpp>

#include <eventcore/runtime/internal/cluster/cluster.pb.h>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <random>

using namespace eventcore;
using namespace eventcore::test;

namespace {

bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}

/// A node in this process, which exports `echo`.
struct member {
  explicit member(node_options options)
      : n{must(node::open(std::move(options)))} {
    n.export_actor(n.service_id().has_value() ? *n.service_id() + "-echo" : "echo", n.system().spawn(echo));
    must_pass(n.join());
  }
  bool calls(const std::string& service) {
    return n.service(service + "-echo").ask<bank::Balance>(deposit(1), 10s).has_value();
  }
  /// What is said of the only peer.
  std::string waits_for_error() {
    std::string why;
    eventually([&] {
      for (const auto& m : n.members())
        if (!m.last_error.empty() && m.state != member_state::connecting)
          why = m.last_error;
      return !why.empty();
    });
    return why;
  }

  node n;
};

struct folder {
  temp_dir dir;

  node_options options(const std::string& service, std::vector<std::string> peers = {}) const {
    auto o = member_options(dir.path(), service, 0, std::move(peers));
    o.cluster->patience = 500ms;
    return o;
  }
};

struct certificates : folder {
  certificates() {
    const auto made = std::system((EVENTCORE_SOURCE_DIR "/runtime/make_certificates " + dir.path().string() +
                                   " one two >" + (dir.path() / "log").string() + " 2>&1")
                                      .c_str());
    BOOST_REQUIRE(made == 0);
  }
  node_options with(node_options o, const std::string& name, const std::string& ca = "ca") const {
    o.cluster->tls =
        tls_options{dir.path() / (name + ".pem"), dir.path() / (name + ".key"), dir.path() / (ca + ".pem")};
    return o;
  }
};

/// A connection that speaks bytes.
class raw_connection {
public:
  explicit raw_connection(const std::string& address) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  raw_connection(raw_connection&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)}
      , connected_{other.connected_} {}
  ~raw_connection() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  bool connected() const { return connected_; }
  bool send(std::string_view bytes) { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0; }
  bool answers() {
    char first = 0;
    return ::recv(fd_, &first, 1, 0) == 1;
  }
  bool is_gone_within(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    char buffer[4096];
    while (std::chrono::steady_clock::now() < until) {
      pollfd readable{fd_, POLLIN | POLLRDHUP, 0};
      if (::poll(&readable, 1, 50) > 0 && ::recv(fd_, buffer, sizeof buffer, 0) <= 0)
        return true;
    }
    return false;
  }

private:
  int fd_;
  bool connected_;
};

std::string hello(const std::function<void(internal::NodeHello&)>& change) {
  internal::NodeHello h;
  h.set_protocol(internal::wire_protocol);
  h.set_cluster("eventcore");
  h.set_node("stranger");
  h.set_service("stranger");
  h.set_instance(std::string(16, 'i'));
  h.set_journal(std::string(16, 'j'));
  h.set_incarnation(std::string(16, 'k'));
  change(h);
  internal::byte_buffer bytes;
  internal::wire_writer{bytes}.raw(internal::wire_magic);
  internal::frame_writer{bytes, internal::frame_kind::hello}.raw(h.SerializeAsString());
  return {bytes.data(), bytes.size()};
}

/// Frames that are whole, of these kinds, and what is in them is not: numbers, most of them too large.
std::string nonsense_of(const std::vector<internal::frame_kind>& kinds, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  internal::byte_buffer bytes;
  for (int i = 0; i != 20; ++i) {
    internal::frame_writer frame{bytes, kinds[random() % kinds.size()]};
    for (auto n = random() % 12; n > 0; --n)
      frame.number(random() >> (random() % 64));
  }
  return {bytes.data(), bytes.size()};
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(who_belongs_here, folder)

BOOST_AUTO_TEST_CASE(another_cluster_is_refused_and_both_say_why) {
  member one{options("one")};
  auto o = options("two", {one.n.cluster_address()});
  o.cluster->id = "other";
  member two{o};
  BOOST_TEST(two.waits_for_error().find("belongs to the cluster 'eventcore'") != std::string::npos);
  BOOST_TEST(!two.calls("one"));
}

BOOST_AUTO_TEST_CASE(two_nodes_of_one_name_are_refused) {
  member one{options("one")};
  auto o = options("two", {one.n.cluster_address()});
  o.name = "one-node";
  member two{o};
  BOOST_TEST(two.waits_for_error().find("has the name of this node") != std::string::npos);
  // And if a third one knows both.
  auto twin = options("three");
  twin.name = "two-node";
  member three{twin};
  member other{options("other", {one.n.cluster_address(), three.n.cluster_address()})};
  BOOST_TEST(other.calls("one"));
}

BOOST_AUTO_TEST_CASE(a_copied_journal_is_refused) {
  { auto made = must(node::open(options("one"))); }
  std::filesystem::copy(dir.path() / "one", dir.path() / "two", std::filesystem::copy_options::recursive);
  member one{options("one")};
  auto o = options("two", {one.n.cluster_address()});
  o.journal.service = "";
  member two{o};
  BOOST_TEST(two.waits_for_error().find("has the journal of this node") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(its_own_address_among_the_peers_is_passed_over) {
  const auto port = free_port();
  auto o = options("one", {loopback(port), "localhost:" + std::to_string(port)});
  o.cluster->listen = loopback(port);
  member one{o};
  member two{options("two", {one.n.cluster_address()})};
  BOOST_TEST(two.calls("one"));
  BOOST_TEST(one.calls("two"));
  BOOST_TEST(eventually([&] { return one.n.members().size() == 1; }));
}

BOOST_AUTO_TEST_CASE(a_seed_that_does_not_resolve_is_said_and_the_others_are_used) {
  member one{options("one")};
  member two{options("two", {"no-such-host.invalid:1", one.n.cluster_address()})};
  BOOST_TEST(two.calls("one"));
  BOOST_TEST(two.waits_for_error().find("no-such-host.invalid:1 cannot be reached") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(other_versions_are_refused) {
  member one{options("one")};
  raw_connection newer{one.n.cluster_address()};
  newer.send(hello([](auto& h) { h.set_protocol(2); }));
  BOOST_TEST(newer.is_gone_within(5s));
  raw_connection contract{one.n.cluster_address()};
  contract.send(hello([](auto& h) {
    h.add_commands()->set_type("bank.Deposit");
    h.mutable_commands(0)->set_version(7);
  }));
  BOOST_TEST(contract.is_gone_within(5s));
  raw_connection right{one.n.cluster_address()};
  right.send(hello([](auto&) {}));
  BOOST_TEST(!right.is_gone_within(500ms));
}

BOOST_AUTO_TEST_CASE(options_that_are_wrong_are_refused) {
  const auto refusal = [&](auto change) {
    auto o = options("one");
    change(*o.cluster);
    auto n = must(node::open(o));
    const auto joined = n.join();
    return joined ? "" : joined.error().message();
  };
  BOOST_TEST(refusal([](auto& c) { c.listen = "0.0.0.0:0"; }) != "");
  BOOST_TEST(refusal([](auto& c) {
               c.listen = "0.0.0.0:0";
               c.advertise = "localhost:1";
             }).find("without TLS") != std::string::npos);
  BOOST_TEST(refusal([](auto& c) {
               c.listen = "0.0.0.0:0";
               c.advertise = "localhost:1";
               c.insecure = true;
             }) == "");
  BOOST_TEST(refusal([](auto& c) { c.peers = {"nonsense"}; }).find("'nonsense'") != std::string::npos);
  BOOST_TEST(refusal([](auto& c) {
               c.tls = tls_options{"no.pem", "no.key", "no-ca.pem"};
             }).find("no.pem") != std::string::npos);
  member taken{options("two")};
  BOOST_TEST(refusal([&](auto& c) { c.listen = taken.n.cluster_address(); }).find("in use") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(encryption, certificates)

BOOST_AUTO_TEST_CASE(members_of_one_authority_talk) {
  member one{with(options("one"), "one")};
  member two{with(options("two", {one.n.cluster_address()}), "two")};
  BOOST_TEST(two.calls("one"));
  BOOST_TEST(one.calls("two"));
  auto large =
      two.n.service("one-echo")
          .ask<bank::Open>(make<bank::Open>([](auto& c) { c.set_owner(std::string(900'000, 'x')); }), 10s);
  BOOST_TEST(large.has_value());
}

BOOST_AUTO_TEST_CASE(strangers_expired_and_foreign_certificates_are_refused) {
  member one{with(options("one"), "one")};
  // The stranger trusts the cluster's authority, but has a certificate of another one.
  for (const auto& [name, ca] : {std::pair{"stranger", "ca"}, {"expired", "ca"}, {"two", "stranger-ca"}}) {
    member two{with(options("two", {one.n.cluster_address()}), name, ca)};
    BOOST_TEST(!two.calls("one"));
    const auto why = two.waits_for_error();
    BOOST_TEST((why.find("certificate") != std::string::npos || why.find("unknown ca") != std::string::npos),
               why);
  }
  // Who does not encrypt at all.
  member plain{options("plain", {one.n.cluster_address()})};
  BOOST_TEST(!plain.calls("one"));
  member two{with(options("two", {one.n.cluster_address()}), "two")};
  BOOST_TEST(two.calls("one"));
  // A member that encrypts does not talk with one that does not.
  member server{options("server")};
  member caller{with(options("caller", {server.n.cluster_address()}), "two")};
  BOOST_TEST(!caller.calls("server"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(nonsense, folder)

BOOST_AUTO_TEST_CASE(random_bytes_do_no_harm) {
  member one{options("one")};
  member two{options("two", {one.n.cluster_address()})};
  BOOST_REQUIRE(two.calls("one"));
  std::mt19937 random{4711};
  const auto valid = hello([](auto&) {});
  for (int i = 0; i != 300; ++i) {
    raw_connection c{one.n.cluster_address()};
    std::string bytes = i % 3 == 0 ? "" : i % 3 == 1 ? std::string{internal::wire_magic} : valid;
    for (int n = 0; n != 512; ++n)
      bytes += static_cast<char>(random());
    c.send(bytes);
  }
  BOOST_TEST(two.calls("one"));
  BOOST_TEST(one.calls("two"));
}

BOOST_AUTO_TEST_CASE(connections_that_end_leave_no_descriptor_behind) {
  auto o = options("one");
  o.cluster->max_connections = 4;
  member one{o};
  const auto open = [] { return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}); };
  const auto before = open();
  std::vector<raw_connection> silent; // members that are never heard again
  for (char i = 'a'; i != 'e'; ++i) {
    silent.emplace_back(one.n.cluster_address()).send(hello([i](auto& h) {
      h.set_node(std::string("silent-") + i);
      h.set_instance(std::string(16, i));
      h.set_journal(std::string(16, i));
    }));
    BOOST_TEST(silent.back().answers());
  }
  for (auto& c : silent)
    BOOST_TEST(c.is_gone_within(10s));
  BOOST_TEST(eventually([&] { return open() <= before + std::ssize(silent); }),
             open() << " descriptors, and before " << before);
  silent.clear();
  BOOST_TEST(eventually([&] { return open() <= before; }), open() << " descriptors, and before " << before);
  const auto valid = hello([](auto&) {});
  for (int i = 0; i != 400; ++i) {
    raw_connection c{one.n.cluster_address()};
    if (i % 4 != 0)
      c.send(i % 4 == 1 ? std::string(512, 'x') : i % 4 == 2 ? valid : valid + std::string(64, 'x'));
    if (i % 8 > 4)
      c.answers();
  }
  BOOST_TEST(eventually([&] { return open() <= before; }), open() << " descriptors, and before " << before);
}

BOOST_AUTO_TEST_CASE(frames_of_nonsense_from_a_member_do_no_harm) {
  using enum internal::frame_kind;
  auto o = options("one");
  o.cluster->reconnect = o.cluster->max_reconnect = 1ms;
  const auto offering = [](auto& h) {
    h.add_offers("stranger");
    h.set_offers_events(true);
    h.set_accepts_events(true);
  };
  std::atomic<std::uint64_t> called = 0;
  raw_server stranger{[&](auto& peer) {
    const auto number = ++called;
    const std::vector<internal::frame_kind> kinds{
        hello, refusal, goodbye, ping, pong, answer, feed_page, feed_end, position_answer, delivery_answer};
    peer.send(::hello(offering) +
              nonsense_of({kinds.begin() + (number % 2 == 0 ? 0 : 3), kinds.end()}, number));
  }};
  o.cluster->peers = {"127.0.0.1:" + std::to_string(stranger.port())};
  member one{o};
  one.n.offer_events();
  one.n.accept_events();
  auto source = one.n.remote_events("stranger");
  auto feed = source->open(1, {}, [] {});
  BOOST_TEST(eventually([&] {
    (void)feed->read({});
    return called > 50;
  }));
  const std::vector<internal::frame_kind> kinds{
      hello, goodbye, ping, pong, command, feed_open, feed_credit, feed_close, position_question, delivery};
  for (std::uint64_t i = 0; i != 100; ++i) {
    raw_connection c{one.n.cluster_address()};
    c.send(::hello([&](auto& h) {
             h.set_node("stranger-" + std::to_string(i));
             h.set_instance(std::string(16, static_cast<char>(i)));
             h.set_journal(std::string(16, static_cast<char>(i)));
           }) +
           nonsense_of(kinds, i));
    c.answers();
  }
  member two{options("two", {one.n.cluster_address()})};
  BOOST_TEST(two.calls("one"));
}

BOOST_AUTO_TEST_CASE(connections_that_say_nothing_end_and_many_keep_nobody_out) {
  auto o = options("one");
  o.cluster->max_connections = 8;
  o.cluster->handshake_limit = 1'000ms;
  member one{o};
  std::vector<raw_connection> crowd;
  for (int i = 0; i != 200; ++i)
    crowd.emplace_back(one.n.cluster_address());
  member two{options("two", {one.n.cluster_address()})};
  BOOST_TEST(two.calls("one"));
  for (auto& c : crowd)
    BOOST_REQUIRE(c.is_gone_within(10s));
  BOOST_TEST(two.calls("one"));
}

// What a node sees of peers that lost their power, or their network: members that never speak again, and close nothing.
BOOST_AUTO_TEST_CASE(half_open_connections_end_after_the_silence_and_keep_nobody_out_longer) {
  auto o = options("one");
  o.cluster->max_connections = 8;
  member one{o};
  member two{options("two", {one.n.cluster_address()})};
  BOOST_REQUIRE(two.calls("one"));
  std::vector<raw_connection> gone;
  for (char i = 'a'; i != 'a' + 7; ++i) {
    gone.emplace_back(one.n.cluster_address());
    gone.back().send(hello([i](auto& h) {
      h.set_node(std::string("gone-") + i);
      h.set_instance(std::string(16, i));
      h.set_journal(std::string(16, i));
    }));
    BOOST_REQUIRE(gone.back().answers());
  }
  BOOST_TEST(two.calls("one"));
  member three{options("three", {one.n.cluster_address()})};
  for (auto& c : gone)
    BOOST_TEST(c.is_gone_within(10s));
  BOOST_TEST(eventually([&] { return three.calls("one"); }));
  BOOST_TEST(two.calls("one"));
  BOOST_TEST(two.n.members()[0].connects == 1u);
}

BOOST_AUTO_TEST_CASE(a_frame_over_the_limit_ends_the_connection) {
  member one{options("one")};
  raw_connection c{one.n.cluster_address()};
  c.send(hello([](auto&) {}));
  c.send(std::string("\xff\xff\xff\x1f\x06", 5)); // 512 MiB
  BOOST_TEST(c.is_gone_within(5s));
  raw_connection unread{one.n.cluster_address()}; // the same before it has said who it is
  unread.send(std::string{internal::wire_magic} + std::string("\xff\xff\xff\x1f\x06", 5));
  BOOST_TEST(unread.is_gone_within(5s));
}

BOOST_AUTO_TEST_SUITE_END()
