#include <eventcore/actors/errc.hpp>
#include <eventcore/actors/saga_host.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/journal_operator.hpp>
#include <eventcore/runtime/cli/verb.hpp>
#include <eventcore/runtime/internal/control/saga_control.hpp>

#include <algorithm>
#include <functional>
#include <string>

namespace eventcore::cli {

namespace {

using json = nlohmann::ordered_json;

/// The step that the saga is at: that it waits for, that cannot be undone, or that turned it around.
const saga_status::step* current_step(const saga_status& saga) {
  const auto in = [&](auto... states) {
    return std::ranges::find_if(saga.steps, [&](auto& s) { return ((s.state == states) || ...); });
  };
  auto step = in("undo_failed", "undo_requested", "undo_delayed", "requested", "delayed");
  if (step == saga.steps.end())
    step = std::ranges::find(saga.steps, saga.failed_step, &saga_status::step::name);
  return step == saga.steps.end() ? nullptr : &*step;
}

json due_of(const saga_status& saga) {
  if (saga.due == timestamp{} || saga.due == timestamp::max())
    return nullptr;
  return to_text(saga.due);
}

json to_json(const std::string& category, const std::string& id, const saga_status& saga) {
  auto steps = json::array();
  for (auto& s : saga.steps)
    steps.push_back({{"name", s.name},
                     {"state", s.state},
                     {"attempts", s.attempts},
                     {"in_doubt", s.in_doubt},
                     {"why", s.why}});
  return {{"category", category},
          {"id", id},
          {"phase", to_string(saga.phase)},
          {"failed_step", saga.failed_step},
          {"why", saga.why},
          {"due", due_of(saga)},
          {"steps", std::move(steps)}};
}

/// What others said, which can hold anything, on one line.
std::string in_quotes(const std::string& text) {
  return text.empty() ? "-" : to_line(text);
}

/// A name that can hold control characters.
std::string plain(const std::string& name) {
  const auto line = to_line(name);
  return line.substr(1, line.size() - 2);
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text + "  ";
}

class sagas final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("ACTION", action_, "list, show, retry, skip or abort")
        ->required()
        ->check(CLI::IsMember({"list", "show", "retry", "skip", "abort"}));
    app.add_option("CATEGORY", category_, "The category of the sagas, such as order_saga")
        ->check(is_category());
    app.add_option("ID", id_, "The saga's id");
    app.add_flag("--stuck", stuck_,
                 "Only those that are stuck; retry and skip take it instead of an ID, for all of them");
    app.add_flag("--json", json_, "Print lines of JSON (list, show)");
    app.add_option("--why", why_, "What is recorded as the reason of a decision")->type_name("TEXT");
    app.footer(
        "Examples:\n"
        "  eventcore sagas list --stuck                            which are stuck, and where?\n"
        "  eventcore sagas show order_saga o-4711                  its steps, with attempts and failures\n"
        "  eventcore sagas retry order_saga o-4711 --why 'stock service is back'\n"
        "  eventcore sagas retry order_saga --stuck                all that are stuck\n"
        "\n"
        "list prints unfinished sagas: phase, category, id, the step it is at, attempts, when it goes\n"
        "on by itself, and the last failure.\n"
        "  retry  a stuck saga tries its compensation again; one that waits before a retry tries now\n"
        "  skip   a stuck saga takes its compensation as done\n"
        "  abort  a running saga is compensated; the step it waits for counts as in doubt\n"
        "The node that has the journal open is asked to do it. Without one, the decision is written\n"
        "into the journal, and carried out when a node runs the sagas.");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    if (auto wrong = misuse(); !wrong.empty()) {
      complain(wrong);
      return exit_code::bad_usage;
    }
    if (const auto action = saga_action_of(action_))
      return decide(journal_dir, *action, out);
    const auto journal = open_lmdb_journal_reader(journal_dir);
    if (!journal)
      return journal.error();
    return action_ == "show" ? show(**journal, out) : list(**journal, journal_dir, out);
  }

  std::string misuse() const {
    const bool decision = action_ != "list" && action_ != "show";
    const bool all = action_ == "list" || ((action_ == "retry" || action_ == "skip") && stuck_);
    if (stuck_ && !all)
      return "sagas " + action_ + " takes no --stuck";
    if (all && !id_.empty())
      return action_ == "list" ? "sagas list takes no ID; sagas show does"
                               : "sagas " + action_ + " takes an ID or --stuck, not both";
    if (action_ != "list" && category_.empty())
      return "sagas " + action_ + " needs a CATEGORY";
    if (!all && id_.empty())
      return "sagas " + action_ + " needs an ID" +
             (action_ == "show" || action_ == "abort" ? "" : ", or --stuck");
    if (!id_.empty())
      if (auto stream = stream_id::of(category_, id_); !stream)
        return stream.error().message();
    if (decision && json_)
      return "sagas " + action_ + " takes no --json";
    if (!decision && !why_.empty())
      return "sagas " + action_ + " takes no --why";
    if (why_.size() > max_why || !internal::is_utf8(why_))
      return "--why takes UTF-8 text of at most " + std::to_string(max_why) + " bytes";
    return {};
  }

  // -- reading

  result<exit_code> list(journal_reader& journal, const std::filesystem::path& journal_dir, output& out) {
    bool any = false, sound = true;
    auto done = for_each(journal, [&](const unfinished_saga& found) {
      any = true;
      auto saga = read_saga(journal, found.category, found.id);
      if (!saga) {
        sound = false;
        complain(saga.error().message());
        print_unreadable(found, saga.error(), out);
      } else if (!is_final(*saga) && (!stuck_ || saga->phase == saga_phase::stuck)) { // ended meanwhile
        print(found, *saga, out);
      }
      return out.open();
    });
    if (!done)
      return done.error();
    if (!any)
      if (auto known = check_category(journal, journal_dir); !known)
        return known.error();
    return sound ? exit_code::done : exit_code::found_wrong;
  }

  /// An error if the journal has never seen a saga of the category that is asked for.
  result<void> check_category(journal_reader& journal, const std::filesystem::path& journal_dir) const {
    if (category_.empty())
      return {};
    const auto known = has_sagas(journal, category_);
    if (!known)
      return known.error();
    if (!*known)
      return make_error(entity_errc::rejected,
                        "the journal in " + journal_dir.string() + " has no saga of category " + category_);
    return {};
  }

  result<exit_code> show(journal_reader& journal, output& out) {
    auto saga = read_saga(journal, category_, id_);
    if (!saga)
      return saga.error();
    if (json_) {
      out.line(to_line(to_json(category_, id_, *saga)));
      return exit_code::done;
    }
    const auto due = due_of(*saga);
    out.line("saga            " + category_ + ' ' + id_);
    out.line("phase           " + std::string{to_string(saga->phase)});
    out.line("failed_step     " + (saga->failed_step.empty() ? "-" : plain(saga->failed_step)));
    out.line("why             " + in_quotes(saga->why));
    out.line("due             " + (due.is_null() ? "-" : due.get<std::string>()));
    for (auto& s : saga->steps)
      out.line("  " + padded(plain(s.name), 24) + padded(s.state + (s.in_doubt ? ", in doubt" : ""), 24) +
               padded(std::to_string(s.attempts), 4) + in_quotes(s.why));
    return exit_code::done;
  }

  /// Calls `take` for each unfinished saga that is asked for, until it returns false.
  result<void> for_each(journal_reader& journal, const std::function<bool(const unfinished_saga&)>& take) {
    durable_timer after;
    if (stuck_)
      after = before_stuck_sagas();
    for (;;) {
      auto page = list_unfinished_sagas(journal, after);
      if (!page)
        return page.error();
      if (page->empty())
        return {};
      for (auto& saga : *page)
        if ((category_.empty() || saga.category == category_) && !take(saga))
          return {};
    }
  }

  void print(const unfinished_saga& found, const saga_status& saga, output& out) const {
    if (json_)
      return out.line(to_line(to_json(found.category, found.id, saga)));
    const auto* step = current_step(saga);
    const auto due = due_of(saga);
    out.line(padded(std::string{to_string(saga.phase)}, 12) + padded(found.category, 16) +
             padded(found.id, 16) + padded(step ? plain(step->name) : "-", 20) +
             padded(step ? std::to_string(step->attempts) : "-", 3) +
             padded(due.is_null() ? "-" : due.get<std::string>(), 27) +
             in_quotes(step && !step->why.empty() ? step->why : saga.why));
  }

  void print_unreadable(const unfinished_saga& found, const error& why, output& out) const {
    if (json_)
      return out.line(to_line(
          {{"category", found.category}, {"id", found.id}, {"phase", nullptr}, {"error", why.message()}}));
    out.line(padded("unreadable", 12) + padded(plain(found.category), 16) + padded(plain(found.id), 16) +
             padded("-", 20) + padded("-", 3) + padded("-", 27) + in_quotes(why.message()));
  }

  static bool is_final(const saga_status& saga) {
    return saga.phase == saga_phase::completed || saga.phase == saga_phase::compensated;
  }

  // -- deciding

  result<exit_code> decide(const std::filesystem::path& journal_dir, saga_action action, output& out) {
    auto opened = journal_operator::open(journal_dir);
    if (!opened)
      return opened.error();
    const auto carry_out = [&](const std::string& category, const std::string& id) {
      auto phase = operate(*opened, category, id, action);
      if (phase)
        out.line(category + ' ' + id + ": " + action_ + ", now " + *phase +
                 (opened->node() == 0 ? "; goes on when a node runs it" : ""));
      return phase;
    };
    if (!id_.empty()) {
      if (auto phase = carry_out(category_, id_); !phase)
        return error{phase.error().code(), category_ + ' ' + id_ + ": " + phase.error().message()};
      return exit_code::done;
    }
    const auto journal = opened->journal();
    if (!journal)
      return journal.error();
    auto code = exit_code::done;
    std::size_t stuck = 0;
    auto done = for_each(**journal, [&](const unfinished_saga& found) {
      auto saga = read_saga(**journal, found.category, found.id);
      if (saga && saga->phase != saga_phase::stuck)
        return out.open();
      ++stuck;
      auto phase = carry_out(found.category, found.id);
      if (phase)
        return out.open();
      complain(found.category + ' ' + found.id + ": " + phase.error().message());
      code = exit_code::found_wrong;
      return out.open() && phase.error().code() != internal::control_errc::no_answer;
    });
    if (!done)
      return done.error();
    if (stuck == 0)
      if (auto known = check_category(**journal, journal_dir); !known)
        return known.error();
    return code;
  }

  /// Records the decision durably. The answer is the saga's phase then.
  result<std::string> operate(journal_operator& with, const std::string& category, const std::string& id,
                              saga_action action) const {
    if (auto* journal = with.writer()) {
      if (auto done = operate_saga(*journal, category, id, action, why_); !done)
        return done.error();
      auto now = read_saga(*journal, category, id);
      return now ? result<std::string>{std::string{to_string(now->phase)}} : now.error();
    }
    auto answer = with.ask({{"request", internal::operate_saga_request},
                            {"category", category},
                            {"id", id},
                            {"action", to_string(action)},
                            {"why", why_}});
    if (!answer)
      return answer.error();
    const auto phase = answer->find("phase");
    return phase != answer->end() && phase->is_string() ? phase->get<std::string>() : std::string{"unknown"};
  }

  static constexpr std::size_t max_why = 4'096;

  std::string action_;
  std::string category_;
  std::string id_;
  std::string why_;
  bool stuck_ = false;
  bool json_ = false;
};

const registered_verb<sagas> registration{"sagas",
                                          "Lists unfinished sagas, and carries out an operator's decisions"};

} // namespace

} // namespace eventcore::cli
