/// kill -9 at random moments, while followers of every kind read a log that grows, each started at its beginning, in its middle
/// and at its end: subscribers that note what they see, alone and in a group of workers; subscribers that answer events with
/// commands; projections; and federation targets. In the end each has seen the same.
///
///     build/tests/followers_kill_test -- 1000000 100     # events and kills; without, a small form

#include "support/account.hpp"
#include "support/child_process.hpp"
#include "support/sums.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/journal_target.hpp>
#include <eventcore/runtime/node.hpp>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t streams = 20;
/// A reaction commits once for each event that it answers with a command: each of so many.
constexpr std::int64_t react_every = 20;
/// How far the writers run ahead of followers that keep up, in positions.
constexpr std::uint64_t max_ahead = 20'000;
/// The writers' progress and that of all followers, in so many words.
constexpr std::uint64_t all_words = 1'000;

struct size_of_test {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::uint64_t events = 10'000;
  std::size_t kills = 5;
#else
  std::uint64_t events = 50'000;
  std::size_t kills = 10;
#endif

  /// Followers of the end start at `events`, and this many more are appended then.
  std::uint64_t total() const {
    return events + events / 10;
  }

  static size_of_test from_arguments() {
    size_of_test size;
    const auto& suite = boost::unit_test::framework::master_test_suite();
    if (suite.argc > 1)
      size.events = std::stoull(suite.argv[1]);
    if (suite.argc > 2)
      size.kills = std::stoull(suite.argv[2]);
    return size;
  }
};

/// Where in the log a follower is started; all but `from_position` begin with the first event.
enum class place { begin, middle, end };
constexpr std::array<std::string_view, 3> place_names{"begin", "middle", "end"};
constexpr std::array places{place::begin, place::middle, place::end};

std::string name_of(place p) {
  return std::string{place_names[static_cast<std::size_t>(p)]};
}

std::string order(std::size_t number) {
  return "order-" + std::to_string(number);
}

std::size_t number_of_order(std::string_view stream) {
  return std::stoul(std::string{stream.substr(stream.find('-') + 1)});
}

template <class T>
T need(result<T> r) {
  if (!r)
    throw std::runtime_error{r.error().message()};
  if constexpr (!std::is_void_v<T>)
    return *std::move(r);
}

// -- followers

struct seen_event {
  event_id id;
  log_position position;
  std::int64_t number;
};
static_assert(sizeof(seen_event) == 32, "no record is torn, because none lies on two pages");

/// Appends what it sees to a file, which a killed process leaves as it is.
struct noting : subscriber<noting> {
  using events = eventcore::events<Happened>;

  explicit noting(const std::filesystem::path& file)
      : fd{::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)} {}
  ~noting() { ::close(fd); }

  void handle(const Happened& e, const event_context& x) const {
    const seen_event seen{x.id, x.position, e.number()};
    if (::write(fd, &seen, sizeof seen) != sizeof seen)
      throw std::runtime_error{"what was seen cannot be noted"};
  }

  int fd;
};

std::string account_id(place p, std::size_t number) {
  return name_of(p) + "-" + std::to_string(number);
}

struct depositing : subscriber<depositing> {
  using events = eventcore::events<Happened>;

  explicit depositing(place p)
      : started{p} {}
  reaction handle(const Happened& e, const event_context& x) const {
    if (e.number() % react_every != 0)
      return nothing();
    return to<account>(account_id(started, number_of_order(x.stream)),
                       make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }

  place started;
};

template <place Place>
struct sums_from : projection<sums_from<Place>> {
  static constexpr std::string_view name = place_names[static_cast<std::size_t>(Place)];
  struct by_stream : view<std::string, Sum> {
    static constexpr std::string_view name = "by_stream";
  };
  using views = eventcore::views<by_stream>;
  using events = eventcore::events<Happened>;

  static void apply(views& v, const Happened& e, const event_context& c) {
    v.template update<by_stream>(std::string{c.stream}, [&](auto& sum) { add(sum, e.number(), c.position); });
  }
};

struct folders {
  std::filesystem::path base;

  std::filesystem::path journal() const { return base / "journal"; }
  std::filesystem::path seen(const std::string& name) const { return base / ("seen-" + name); }
  std::filesystem::path target(place p) const { return base / ("target-" + name_of(p)); }
};

/// What runs in the process that is killed.
class service {
public:
  service(const folders& f, const size_of_test& size)
      : size_{size}
      , folders_{f} {
    for (auto p : places)
      targets_.push_back(need(open_lmdb_journal(f.target(p))));
    node_options options;
    options.name = "shop";
    options.journal_dir = f.journal();
    node_.emplace(need(node::open(options)));
    node_->host<account>();
    for (std::size_t i = 0; i != streams; ++i)
      written_ += versions_[i] = need(journal().head_of(sid(order(i)))).version;
    look_after_followers();
  }

  ~service() {
    end_ = true;
    writers_.clear();
    node_.reset(); // before the journals that it sends to
  }

  /// Says a word for each part of the work that is done, and `!` at its end.
  void run(channel& parent, unsigned seed) {
    for (std::size_t i = 0; i != 2; ++i)
      writers_.emplace_back([this, seed, i] { write(seed + static_cast<unsigned>(i), i); });
    const auto before = progress();
    for (std::uint64_t said = 0; !done();) {
      look_after_followers();
      for (; said < progress() - before; ++said)
        parent.say('.');
      if (failed_)
        throw std::runtime_error{"a writer failed"};
      std::this_thread::sleep_for(1ms);
    }
    parent.say('!');
  }

private:
  struct follower {
    place started;
    std::function<log_position()> position;
  };

  eventcore::journal& journal() { return node_->journal(); }

  void write(unsigned seed, std::size_t first) {
    std::minstd_rand random{seed};
    while (!end_) {
      const auto written = written_.load();
      if (written >= size_.total())
        return;
      if (hold_ || (!all_started_ && written >= size_.total() - size_.events / 20)) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      const auto stream = random() % (streams / 2) * 2 + first;
      const auto count = 1 + random() % 100;
      if (!need_commit(append(order(stream), expected_version::exact(versions_[stream]),
                              happened_many(count, static_cast<std::int64_t>(versions_[stream]) + 1))))
        return;
      versions_[stream] += count;
      written_ += count;
    }
  }

  bool need_commit(commit c) {
    auto done = journal().commit_and_wait(std::move(c));
    if (!done && !end_)
      failed_ = true;
    return done.has_value();
  }

  /// Starts those whose time has come, and holds the writers back for those that keep up.
  void look_after_followers() {
    const auto written = written_.load();
    for (auto p : places) {
      const auto from = p == place::begin ? 0 : p == place::middle ? size_.events / 2 : size_.events;
      if (started_ == static_cast<std::size_t>(p) && written >= from) {
        start(p);
        ++started_;
      }
    }
    const auto head = need(journal().head());
    bool behind = false;
    bool keep_up = true;
    for (auto& f : followers_) {
      const bool far = f.position() + max_ahead < head;
      behind = behind || far;
      keep_up = keep_up && !(far && f.started == place::begin);
    }
    hold_ = !keep_up;
    all_started_ = started_ == places.size() && !behind;
  }

  void start(place p) {
    const auto name = name_of(p);
    note(p, {.name = name});
    if (p == place::begin)
      note(p, {.name = "group", .workers = 3});
    if (p == place::middle)
      note(p, {.name = "from position",
               .start = start_from::position(size_.events / 2),
               .place = handler_place::scheduler});
    follow(p, need(node_->subscribe<depositing>(
                  {.name = "react " + name, .filter = orders(), .place = handler_place::scheduler},
                  [p] { return std::make_unique<depositing>(p); })));
    if (p == place::begin)
      project<place::begin>();
    if (p == place::middle)
      project<place::middle>();
    if (p == place::end)
      project<place::end>();
    federate(p);
  }

  static log_filter orders() { return {{"order"}, {}}; }

  void note(place p, subscription_options options) {
    options.filter = orders();
    follow(p, need(node_->subscribe<noting>(
                  options, [file = folders_.seen(options.name)] { return std::make_unique<noting>(file); })));
  }

  void follow(place p, subscription s) {
    followers_.push_back({p, [s] { return need(s.stats(patience)).position; }});
  }

  template <place Place>
  void project() {
    auto view = need(node_->project<sums_from<Place>>());
    followers_.push_back({Place, [view] { return view.stats().live.sources.at(0).position; }});
  }

  void federate(place p) {
    publication orders;
    orders.map<Happened>("orders");
    orders.categories["order"];
    const auto name = name_of(p);
    auto hub = need(federation_hub::start(
        *node_, need(node_->publish(orders)), need(federation_rules::create({{"", "shop", "*", {name}, ""}})),
        {{name, make_journal_target(*targets_[static_cast<std::size_t>(p)])}}));
    followers_.push_back({p, [hub, name] { return need(hub.stats(name, patience)).subscription.position; }});
  }

  std::uint64_t progress() {
    const auto head = need(journal().head());
    const double part = static_cast<double>(written_) / static_cast<double>(size_.total());
    double sum = part;
    for (auto& f : followers_)
      if (head != 0)
        sum += part * static_cast<double>(f.position()) / static_cast<double>(head);
    constexpr double all = 1 + 14; // the writers, and whom `start` starts
    const auto words = static_cast<std::uint64_t>(static_cast<double>(all_words) * sum / all);
    return progress_ = std::max(progress_, words);
  }

  bool done() {
    if (started_ != places.size() || written_ < size_.total())
      return false;
    if (last_ == 0)
      last_ = need(journal().head());
    return std::ranges::all_of(followers_, [this](auto& f) { return f.position() >= last_; });
  }

  size_of_test size_;
  folders folders_;
  std::vector<std::unique_ptr<eventcore::journal>> targets_;
  std::optional<node> node_;
  std::vector<follower> followers_;
  std::size_t started_ = 0;
  log_position last_ = 0;
  std::uint64_t progress_ = 0;
  std::array<stream_version, streams> versions_{}; ///< each used by one writer
  std::atomic<std::uint64_t> written_ = 0;
  std::atomic<bool> hold_ = false;
  std::atomic<bool> all_started_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> end_ = false;
  std::vector<std::jthread> writers_;
};

// -- what they must have seen

struct wanted_event {
  event_id id;
  log_position position;
  std::int64_t number;
  std::size_t stream;
};

template <class F>
void each_event(journal_reader& journal, const log_filter& filter, F f) {
  const auto head = must(journal.head());
  event_page page;
  for (log_position next = 1; next <= head;) {
    must_pass(journal.read_log(next, page, filter));
    for (auto& event : page)
      f(event);
  }
}

class check {
public:
  check(const folders& f, const size_of_test& size)
      : folders_{f}
      , size_{size}
      , journal_{must(open_lmdb_journal(f.journal()))} {
    each_event(*journal_, {{"order"}, {}}, [&](const recorded_event& e) {
      wanted_.push_back({e.id, e.position, number_of(e), number_of_order(e.stream)});
    });
    BOOST_TEST(wanted_.size() >= size.total());
  }

  /// The same events in the same order, if each is counted when it comes first. Each life of the process begins with an event that
  /// came before or is the next, and goes on without a gap.
  void seen(const std::string& name, log_position from = 1) const {
    const auto first = index_of(from);
    auto next = first;
    auto at = first;
    std::size_t begun = 0, count = 0, wrong = 0;
    std::ifstream in{folders_.seen(name), std::ios::binary};
    for (seen_event e; in.read(reinterpret_cast<char*>(&e), sizeof e); ++count) {
      const auto i = index_of(e.position);
      wrong += !is(i, e) || i < first || i > next;
      begun += i != at;
      at = i + 1;
      next = std::max(next, at);
    }
    BOOST_TEST(wrong == 0u, name);
    BOOST_TEST(next == wanted_.size(), name);
    BOOST_TEST(begun <= size_.kills, name);
    BOOST_TEST_MESSAGE(name << ": " << next - first << " events, and " << count - (next - first)
                            << " once more after " << begun << " kills");
  }

  /// The same for each stream: the workers share the streams.
  void seen_by_group(const std::string& name) const {
    std::array<std::int64_t, streams> last{};
    std::array<std::int64_t, streams> highest{};
    std::size_t wrong = 0, count = 0;
    std::ifstream in{folders_.seen(name), std::ios::binary};
    for (seen_event e; in.read(reinterpret_cast<char*>(&e), sizeof e); ++count) {
      const auto i = index_of(e.position);
      if (!is(i, e)) {
        ++wrong;
        continue;
      }
      const auto stream = wanted_[i].stream;
      wrong += e.number > last[stream] + 1;
      last[stream] = e.number;
      highest[stream] = std::max(highest[stream], e.number);
    }
    BOOST_TEST(wrong == 0u, name);
    std::array<std::int64_t, streams> wanted{};
    for (auto& e : wanted_)
      wanted[e.stream] = e.number;
    BOOST_TEST(highest == wanted, boost::test_tools::per_element());
    BOOST_TEST_MESSAGE(name << ": " << wanted_.size() << " events in order, and " << count - wanted_.size()
                            << " once more");
  }

  /// Each command had its effect once, in order.
  void reacted(place p) const {
    std::array<std::vector<std::int64_t>, streams> wanted;
    for (auto& e : wanted_)
      if (e.number % react_every == 0)
        wanted[e.stream].push_back(e.number);
    std::size_t count = 0;
    for (std::size_t i = 0; i != streams; ++i) {
      std::vector<std::int64_t> found;
      for (auto& event : read_stream(*journal_, sid("account-" + account_id(p, i))))
        if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
          found.push_back(e.cents());
      BOOST_TEST((found == wanted[i]), "account " << account_id(p, i));
      count += found.size();
    }
    BOOST_TEST_MESSAGE("react " << name_of(p) << ": " << count << " commands");
  }

  template <place Place>
  void projected() const {
    projection_options options;
    options.folder = folders_.journal() / "projections" / name_of(Place);
    options.sources = {make_journal_source(*journal_)};
    options.mode = writer_mode::stepped;
    auto view = must(open_projection<sums_from<Place>>(options));
    BOOST_TEST(view.stats().live.sources.at(0).position >= wanted_.back().position);
    std::array<Sum, streams> wanted;
    for (auto& e : wanted_)
      add(wanted[e.stream], e.number, e.position);
    for (std::size_t i = 0; i != streams; ++i) {
      const auto row = must(view.template get<typename sums_from<Place>::by_stream>(order(i)));
      BOOST_TEST_REQUIRE(row.has_value());
      BOOST_TEST(row->SerializeAsString() == wanted[i].SerializeAsString(), order(i));
    }
    view.stop();
    BOOST_TEST_MESSAGE("projection " << name_of(Place) << ": right");
  }

  /// Each event is there once, in the order of the source's log.
  void federated(place p) const {
    const auto target = must(open_lmdb_journal_reader(folders_.target(p)));
    std::size_t next = 0, wrong = 0;
    each_event(*target, {}, [&](const recorded_event& e) {
      if (next == wanted_.size()) {
        ++wrong;
        return;
      }
      const auto& w = wanted_[next++];
      const auto& headers = e.metadata.headers;
      wrong += headers.at("federation.event-id") != to_string(w.id) || e.stream != order(w.stream) ||
               headers.at("federation.position") != std::to_string(w.position) || number_of(e) != w.number;
    });
    BOOST_TEST(wrong == 0u, name_of(p));
    BOOST_TEST(next == wanted_.size(), name_of(p));
    const auto report = verify_journal(*target);
    BOOST_TEST(report.ok());
    BOOST_TEST_MESSAGE("target " << name_of(p) << ": " << next << " events");
  }

  void sound() const {
    const auto report = verify_journal(*journal_);
    BOOST_TEST(report.ok());
    BOOST_TEST_MESSAGE(wanted_.size() << " events of orders, " << report.events << " in all");
  }

private:
  std::size_t index_of(log_position position) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(wanted_, position, {}, &wanted_event::position) -
                                    wanted_.begin());
  }
  bool is(std::size_t i, const seen_event& e) const {
    return i < wanted_.size() && wanted_[i].position == e.position && wanted_[i].id == e.id &&
           wanted_[i].number == e.number;
  }

  folders folders_;
  size_of_test size_;
  std::unique_ptr<journal> journal_;
  std::vector<wanted_event> wanted_;
};

void open_accounts(const folders& f) {
  auto journal = must(open_lmdb_journal(f.journal()));
  for (auto p : places)
    for (std::size_t i = 0; i != streams; ++i)
      must(journal->commit_and_wait(
          append("account-" + account_id(p, i), expected_version::none(),
                 {{bank::Opened::descriptor(), bank::Opened{}.SerializeAsString(), 1}})));
}

} // namespace

/// spec 8, 9, 11, 14, 24, 29
BOOST_AUTO_TEST_CASE(followers_that_are_killed_see_the_same_wherever_they_start) {
  const auto size = size_of_test::from_arguments();
  const temp_dir dir;
  const folders f{dir.path()};
  open_accounts(f);

  std::mt19937 random{20'261'126};
  std::vector<std::uint64_t> when;
  for (std::size_t i = 0; i != size.kills; ++i)
    when.push_back(random() % all_words);
  std::ranges::sort(when);
  const auto live = [&](channel& parent) {
    spdlog::set_level(spdlog::level::off);
    service{f, size}.run(parent, static_cast<unsigned>(random()));
    return 0;
  };
  std::uint64_t before = 0;
  std::size_t kills = 0;
  for (; kills != size.kills; ++kills) {
    child_process child{live};
    random.discard(1); // for the child's seed
    char word = '.';
    for (; before < when[kills] && word == '.'; ++before)
      word = child.hear();
    if (word == '!')
      break; // words that were said when a life ended were not heard
    BOOST_TEST_REQUIRE(word == '.', "life " << kills);
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 20'000});
    BOOST_TEST_REQUIRE(::kill(child.pid(), SIGKILL) == 0);
    const auto ended = child.wait();
    if (ended == 0)
      break;
    BOOST_TEST_REQUIRE(ended == -1, "the process failed in life " << kills);
  }
  BOOST_TEST(kills > size.kills / 2);
  {
    child_process last{live};
    char word = 0;
    while ((word = last.hear()) == '.')
      continue;
    BOOST_TEST_REQUIRE(word == '!');
    BOOST_TEST_REQUIRE(last.wait() == 0);
  }
  BOOST_TEST_MESSAGE(kills << " times killed");

  const check all{f, size};
  for (auto p : places) {
    all.seen(name_of(p));
    all.reacted(p);
    all.federated(p);
  }
  all.seen("from position", size.events / 2);
  all.seen_by_group("group");
  all.projected<place::begin>();
  all.projected<place::middle>();
  all.projected<place::end>();
  all.sound();
}
