#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <rapidcheck.h>

#include <array>
#include <map>
#include <set>

namespace eventcore::test {

namespace {

constexpr std::array<const char*, 4> stream_names{"a-1", "a-2", "b-1", "c"};
constexpr std::array<const char*, 2> cursor_names{"mail", "post"};
constexpr std::size_t epochs = 2;

// -- what may happen ------------------------------------------------------------------------------

struct planned_append {
  std::size_t stream = 0;
  enum { any, none, right, too_low, too_high } expectation = any;
  std::size_t events = 0;
};

struct planned_move {
  std::size_t cursor = 0;
  bool right = true;
  log_position to = 0;
};

struct action {
  enum { commit, step, reopen, new_epoch } kind = commit;
  std::vector<planned_append> appends;
  std::vector<planned_move> moves;
  std::optional<std::size_t> epoch;
};

void showValue(const action& a, std::ostream& out) {
  static constexpr std::array kinds{"commit", "step", "reopen", "new epoch"};
  static constexpr std::array expectations{"any", "none", "right", "too low", "too high"};
  out << kinds[a.kind];
  for (const auto& append : a.appends)
    out << ", " << append.events << " to " << stream_names[append.stream] << " ("
        << expectations[append.expectation] << ')';
  for (const auto& move : a.moves)
    out << ", " << cursor_names[move.cursor] << (move.right ? " to " : " wrongly to ") << move.to;
  if (a.epoch)
    out << ", epoch " << *a.epoch;
}

/// A number below `bound`.
std::size_t below(std::size_t bound) {
  return *rc::gen::inRange<std::size_t>(0, bound);
}

rc::Gen<action> any_action() {
  return rc::gen::exec([] {
    action a;
    a.kind = *rc::gen::weightedElement<decltype(a.kind)>(
        {{16, action::commit}, {3, action::step}, {1, action::reopen}, {2, action::new_epoch}});
    if (a.kind == action::new_epoch)
      a.epoch = below(epochs);
    if (a.kind != action::commit)
      return a;
    for (auto n = below(4); n > 0; --n) {
      planned_append append;
      append.stream = below(stream_names.size());
      append.expectation =
          *rc::gen::weightedElement<decltype(append.expectation)>({{4, planned_append::any},
                                                                   {2, planned_append::none},
                                                                   {8, planned_append::right},
                                                                   {1, planned_append::too_low},
                                                                   {1, planned_append::too_high}});
      append.events = below(4);
      a.appends.push_back(append);
    }
    for (auto n = a.appends.empty() ? 1 : below(3); n > 0; --n)
      a.moves.push_back({below(cursor_names.size()), below(6) != 0, below(10)});
    if (below(2) == 0)
      a.epoch = below(epochs);
    return a;
  });
}

// -- what should then be --------------------------------------------------------------------------

struct model_event {
  std::string stream;
  std::int64_t number;
};

class model {
public:
  stream_version version_of(const std::string& stream) const {
    auto i = streams.find(stream);
    return i == streams.end() ? 0 : i->second.size();
  }

  /// What the journal must answer to `c`.
  result<committed> apply(const commit& c) {
    if (c.epoch && c.epoch->closed())
      return make_error(journal_errc::epoch_closed, "");
    for (const auto& append : c.appends)
      if (!append.expected.admits(version_of(append.stream.str())))
        return make_error(journal_errc::conflict, "");
    for (const auto& move : c.cursors)
      if (cursor(move.name) != move.expected)
        return make_error(journal_errc::conflict, "");
    committed where;
    for (const auto& append : c.appends)
      for (const auto& event : append.events) {
        Happened message;
        message.ParseFromString(event.payload);
        streams[append.stream.str()].push_back(message.number());
        log.push_back({append.stream.str(), message.number()});
        where.last = log.size();
        if (where.first == 0)
          where.first = where.last;
      }
    for (const auto& move : c.cursors)
      cursors[move.name] = move.position;
    return where;
  }

  log_position cursor(const std::string& name) const {
    auto i = cursors.find(name);
    return i == cursors.end() ? 0 : i->second;
  }

  std::map<std::string, std::vector<std::int64_t>> streams;
  std::vector<model_event> log;
  std::map<std::string, log_position> cursors;
};

bool same(const result<committed>& a, const result<committed>& b) {
  if (a && b)
    return a->first == b->first && a->last == b->last;
  return !a && !b && a.error().code() == b.error().code();
}

/// A commit of `c` breaks a bound if it names something twice.
bool names_twice(const commit& c) {
  std::set<std::string> streams;
  std::set<std::string> cursors;
  for (const auto& append : c.appends)
    if (!streams.insert(append.stream.str()).second)
      return true;
  for (const auto& move : c.cursors)
    if (!cursors.insert(move.name).second)
      return true;
  return false;
}

/// Does to a journal and its model the same.
class comparison {
public:
  explicit comparison(const case_setup& setup)
      : setup_{setup}
      , factory_{setup.make_factory()} {
    options_ = setup.options();
    options_.writer = writer_mode::stepped;
    journal_ = factory_->open(options_);
    for (auto& pipeline : pipelines_)
      pipeline = {std::make_shared<writer_epoch>(), std::make_shared<writer_epoch>()};
  }

  void perform(const action& a) {
    switch (a.kind) {
    case action::commit:
      submit_both(a);
      break;
    case action::step:
      step();
      break;
    case action::reopen:
      reopen();
      break;
    case action::new_epoch:
      pipelines_[*a.epoch] = {std::make_shared<writer_epoch>(), std::make_shared<writer_epoch>()};
      break;
    }
  }

  void reopen() {
    if (!setup_.persistent())
      return step();
    journal_.reset();
    settle_model();
    journal_ = factory_->open(options_);
    compare_reads();
  }

private:
  /// The epoch that the journal closes, and the one that the model closes.
  struct pipeline {
    std::shared_ptr<writer_epoch> real;
    std::shared_ptr<writer_epoch> modelled;
  };

  void submit_both(const action& a) {
    commit c;
    for (const auto& planned : a.appends) {
      stream_append append{sid(stream_names[planned.stream]), expected_version::any(), {}};
      const auto version = expected_at(append.stream);
      switch (planned.expectation) {
      case planned_append::any:
        break;
      case planned_append::none:
        append.expected = expected_version::none();
        break;
      case planned_append::right:
        append.expected = expected_version::exact(version);
        break;
      case planned_append::too_low:
        append.expected = expected_version::exact(version == 0 ? 1 : version - 1);
        break;
      case planned_append::too_high:
        append.expected = expected_version::exact(version + 1);
        break;
      }
      for (std::size_t i = 0; i < planned.events; ++i)
        append.events.push_back(happened(++last_number_));
      c.appends.push_back(std::move(append));
    }
    for (const auto& planned : a.moves) {
      const std::string name = cursor_names[planned.cursor];
      c.cursors.push_back({name, model_.cursor(name) + (planned.right ? 0 : 1), planned.to});
    }
    auto modelled = c;
    if (a.epoch) {
      c.epoch = pipelines_[*a.epoch].real;
      modelled.epoch = pipelines_[*a.epoch].modelled;
    }
    if (names_twice(c)) {
      // Refused at once, which also ends the epoch for those of its commits that still wait.
      if (modelled.epoch)
        modelled.epoch->close();
      auto refused = std::make_shared<recorder>();
      submit(*journal_, std::move(c), refused, 0);
      auto got = refused->take();
      RC_ASSERT(got.size() == 1u);
      RC_ASSERT(!got[0].outcome);
      RC_ASSERT(got[0].outcome.error().code() == make_error_code(journal_errc::invalid_argument));
      return;
    }
    submit(*journal_, std::move(c), answers_, waiting_.size());
    waiting_.push_back(std::move(modelled));
  }

  /// A stream's version if all that waits passes.
  stream_version expected_at(const stream_id& stream) const {
    auto version = model_.version_of(stream.str());
    for (const auto& c : waiting_)
      for (const auto& append : c.appends)
        if (append.stream == stream)
          version += append.events.size();
    return version;
  }

  void step() {
    RC_ASSERT(journal_->step() == waiting_.size());
    settle_model();
    compare_reads();
  }

  /// Answers what waits by the model, and compares.
  void settle_model() {
    auto got = answers_->take();
    RC_ASSERT(got.size() == waiting_.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      RC_ASSERT(got[i].ticket == i);
      auto expected = model_.apply(waiting_[i]);
      if (!expected && waiting_[i].epoch)
        waiting_[i].epoch->close();
      RC_ASSERT(same(got[i].outcome, expected));
    }
    waiting_.clear();
  }

  void compare_reads() {
    auto log = read_log(*journal_, 1, {}, {3, 1u << 20});
    RC_ASSERT(log.size() == model_.log.size());
    std::map<std::string, stream_head> heads;
    for (std::size_t i = 0; i < log.size(); ++i) {
      auto& head = heads[log[i].stream];
      RC_ASSERT(log[i].position == i + 1);
      RC_ASSERT(log[i].version == ++head.version);
      RC_ASSERT(log[i].stream == model_.log[i].stream);
      RC_ASSERT(number_of(log[i]) == model_.log[i].number);
      head.position = log[i].position;
    }
    for (const auto* name : stream_names) {
      RC_ASSERT(numbers(read_stream(*journal_, sid(name), 1, {2, 1u << 20})) == model_.streams[name]);
      auto head = must(journal_->head_of(sid(name)));
      RC_ASSERT(head.version == heads[name].version);
      RC_ASSERT(head.position == heads[name].position);
    }
    std::string token;
    std::size_t listed = 0;
    for (auto page = must(journal_->list_streams(token, 1)); !page.empty();
         page = must(journal_->list_streams(token, 1)))
      ++listed;
    RC_ASSERT(listed == static_cast<std::size_t>(std::ranges::count_if(
                            model_.streams, [](const auto& entry) { return !entry.second.empty(); })));
    for (const auto* name : cursor_names)
      RC_ASSERT(must(journal_->load_cursor(name)) == model_.cursor(name));
  }

  const case_setup& setup_;
  std::unique_ptr<journal_factory> factory_;
  journal_options options_;
  std::unique_ptr<journal> journal_;
  model model_;
  std::array<pipeline, epochs> pipelines_;
  std::shared_ptr<recorder> answers_ = std::make_shared<recorder>();
  std::vector<commit> waiting_; // as the model is to see them
  std::int64_t last_number_ = 0;
};

void a_journal_is_like_its_model(const case_setup& setup) {
  BOOST_TEST(rc::check("a journal is like its model", [&] {
    const auto actions = *rc::gen::container<std::vector<action>>(any_action());
    comparison both{setup};
    for (const auto& a : actions)
      both.perform(a);
    both.reopen();
  }));
}

} // namespace

std::vector<conformance_case> model_cases() {
  return {
      {"a_journal_is_like_its_model", a_journal_is_like_its_model},
  };
}

} // namespace eventcore::test
