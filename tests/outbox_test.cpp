// Frames on their way to a connection: whoever sends them, they arrive whole and in order.

#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

using namespace eventcore::internal;

namespace {

struct connection {
  connection() {
    int ends[2];
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    near = socket_handle{ends[0]};
    far = socket_handle{ends[1]};
  }
  std::string arrived(std::size_t size) {
    std::string text(size, '\0');
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(::recv(far.get(), text.data(), size, MSG_DONTWAIT), 0)));
    return text;
  }
  socket_handle near, far;
};

auto at_once(std::string_view text) {
  return [text](byte_buffer& to) {
    wire_writer{to}.raw(text);
    return true;
  };
}
auto later(std::string_view text) {
  return [text](byte_buffer& to) { wire_writer{to}.raw(text); };
}

} // namespace

BOOST_AUTO_TEST_SUITE(outbox_test)

BOOST_AUTO_TEST_CASE(what_has_no_company_needs_no_broker) {
  connection c;
  int woken = 0;
  outbox out{[&] { ++woken; }};
  out.write(at_once("a"));
  BOOST_TEST(woken == 1); // there is no shortcut yet
  out.open_shortcut(duplicate(c.near.get()));
  out.write(at_once("b"));
  BOOST_TEST(c.arrived(9) == "ab");
  BOOST_TEST(out.size() == 0u);
  byte_buffer taken;
  BOOST_TEST(!out.take(taken));
  out.write(at_once("c"));
  BOOST_TEST(woken == 1);
  BOOST_TEST(c.arrived(9) == "c");
  out.write(later("d"));
  BOOST_TEST(woken == 2);
  BOOST_TEST(c.arrived(9) == "");
  out.close();
  BOOST_TEST(!out.write(at_once("e")));
}

BOOST_AUTO_TEST_CASE(nothing_overtakes_what_the_broker_sends) {
  connection c;
  int woken = 0;
  outbox out{[&] { ++woken; }};
  out.open_shortcut(duplicate(c.near.get()));
  out.write(later("a"));
  byte_buffer taken;
  BOOST_TEST(out.take(taken));
  out.write(at_once("b"));
  BOOST_TEST(c.arrived(9) == "");
  BOOST_TEST(woken == 2);
  taken.clear();
  BOOST_TEST(out.take(taken));
  BOOST_TEST(std::string(taken.begin(), taken.end()) == "b");
  BOOST_TEST(!out.take(taken)); // it has sent that, too
  out.write(at_once("c"));
  BOOST_TEST(c.arrived(9) == "c");
}

BOOST_AUTO_TEST_CASE(what_the_connection_does_not_take_is_left_to_the_broker) {
  connection c;
  int woken = 0;
  outbox out{[&] { ++woken; }};
  out.open_shortcut(duplicate(c.near.get()));
  std::string all(8u << 20, '\0');
  for (std::size_t i = 0; i != all.size(); ++i)
    all[i] = static_cast<char>(i * 7 + i / 4096);
  out.write(at_once(all));
  BOOST_TEST(woken == 1);
  BOOST_TEST(out.size() > 0u);
  BOOST_TEST(out.size() < all.size());
  auto arrived = c.arrived(all.size());
  byte_buffer taken;
  BOOST_TEST(out.take(taken));
  arrived.append(taken.begin(), taken.end());
  BOOST_TEST((arrived == all));
}

BOOST_AUTO_TEST_CASE(a_broken_connection_is_the_brokers_trouble) {
  connection c;
  int woken = 0;
  outbox out{[&] { ++woken; }};
  out.open_shortcut(duplicate(c.near.get()));
  c.far = {};
  out.write(at_once("a")); // and no signal ends the process
  BOOST_TEST(woken == 1);
  BOOST_TEST(out.size() == 1u);
}

BOOST_AUTO_TEST_CASE(frames_of_many_threads_arrive_whole_and_in_order) {
  constexpr std::uint32_t writers = 4, frames = 20'000;
  struct frame {
    std::uint32_t writer, number;
  };
  connection c;
  std::atomic<bool> woken = false, end = false;
  outbox out{[&] { woken = true, woken.notify_one(); }};
  out.open_shortcut(duplicate(c.near.get()));
  std::jthread broker{[&] {
    while (!end) {
      woken.wait(false);
      woken = false;
      for (byte_buffer taken; out.take(taken); taken.clear())
        for (std::size_t sent = 0; sent != taken.size();)
          sent += static_cast<std::size_t>(
              ::send(c.near.get(), taken.data() + sent, std::min<std::size_t>(taken.size() - sent, 100), 0));
    }
  }};
  std::vector<std::jthread> threads;
  for (std::uint32_t w = 0; w != writers; ++w)
    threads.emplace_back([&, w] {
      for (std::uint32_t i = 0; i != frames; ++i) {
        const frame f{w, i};
        out.write([&](byte_buffer& to) {
          wire_writer{to}.raw({reinterpret_cast<const char*>(&f), sizeof(f)});
          return i % 3 != w % 3;
        });
      }
    });
  std::array<std::uint32_t, writers> next{};
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i != writers * frames; ++i) {
    frame f{};
    BOOST_REQUIRE(::recv(c.far.get(), &f, sizeof(f), MSG_WAITALL) == sizeof(f));
    wrong += f.writer >= writers || f.number != next[f.writer]++ ? 1 : 0;
    if (wrong > 0)
      break;
  }
  BOOST_TEST(wrong == 0u);
  end = true;
  woken = true;
  woken.notify_one();
}

BOOST_AUTO_TEST_SUITE_END()
