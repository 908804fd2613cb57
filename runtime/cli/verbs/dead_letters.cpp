#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/journal_operator.hpp>
#include <eventcore/runtime/cli/verb.hpp>
#include <eventcore/runtime/internal/control/dead_letter_control.hpp>

#include <algorithm>
#include <string>

namespace eventcore::cli {

namespace {

using json = nlohmann::ordered_json;

json to_json(const std::string& subscription, const dead_letter& letter) {
  json line{{"subscription", subscription},
            {"position", letter.position},
            {"stream", letter.stream},
            {"version", letter.version},
            {"type", letter.type},
            {"attempts", letter.attempts},
            {"parked_at", to_text(letter.parked_at)},
            {"replay_wanted", letter.replay_wanted},
            {"why", letter.why}};
  if (!letter.source.empty())
    line["source"] = letter.source;
  return line;
}

class dead_letters final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("ACTION", action_, "list, show, replay or drop")
        ->required()
        ->check(CLI::IsMember({"list", "show", "replay", "drop"}));
    app.add_option("SUBSCRIPTION", subscription_, "The subscription's name");
    app.add_option("POSITION", position_, "The event's position in the log, which names its letter")
        ->check(is_number(1));
    app.add_flag("--all", all_, "All letters of the subscription, instead of a POSITION (replay, drop)");
    app.add_flag("--json", json_, "Print lines of JSON (list)");
    app.footer("Examples:\n"
               "  eventcore dead-letters list                   the events that subscriptions gave up\n"
               "  eventcore dead-letters show mailer 4711       one of them: why, and the event itself\n"
               "  eventcore dead-letters replay mailer --all    try them again\n"
               "  eventcore dead-letters drop mailer 4711       forget it\n"
               "\n"
               "list prints position, stream, version, type, attempts, when it was parked, whether a replay\n"
               "is wanted, the service that it is from, if that is another one, and why it failed. The\n"
               "event of another service is kept in the letter; show prints it with its payload as\n"
               "data_base64, as this journal does not know what its type looks like. The node that has the "
               "journal open is asked to replay or\n"
               "drop. Without one, that is written into the journal, and a replay happens when the\n"
               "subscription runs. A letter that fails again stays.");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    if (auto wrong = misuse(); !wrong.empty()) {
      complain(wrong);
      return exit_code::bad_usage;
    }
    if (action_ == "replay" || action_ == "drop")
      return decide(journal_dir, out);
    const auto journal = open_lmdb_journal_reader(journal_dir);
    if (!journal)
      return journal.error();
    return action_ == "show" ? show(**journal, out) : list(**journal, journal_dir, out);
  }

  std::string misuse() const {
    const bool decision = action_ == "replay" || action_ == "drop";
    if (action_ != "list" && subscription_.empty())
      return "dead-letters " + action_ + " needs a SUBSCRIPTION";
    if (!subscription_.empty())
      if (auto stream = stream_id::of(dead_letter_category, subscription_); !stream)
        return stream.error().message();
    if (action_ == "list" && position_ != 0)
      return "dead-letters list takes no POSITION; dead-letters show does";
    if (action_ == "show" && position_ == 0)
      return "dead-letters show needs a POSITION";
    if (decision && (position_ != 0) == all_)
      return "dead-letters " + action_ + " takes a POSITION or --all, one of them";
    if (!decision && all_)
      return "dead-letters " + action_ + " takes no --all";
    if (action_ != "list" && json_)
      return "dead-letters " + action_ + " takes no --json";
    return {};
  }

  result<exit_code> list(journal_reader& journal, const std::filesystem::path& journal_dir, output& out) {
    std::vector<std::string> names{subscription_};
    if (subscription_.empty()) {
      auto all = list_dead_letter_subscriptions(journal);
      if (!all)
        return all.error();
      names = *std::move(all);
    }
    for (auto& name : names) {
      auto letters = list_dead_letters(journal, name);
      if (!letters)
        return letters.error();
      if (letters->empty())
        if (auto known = check_subscription(journal, journal_dir, name); !known)
          return known.error();
      for (auto& letter : *letters) {
        const auto line = to_json(name, letter);
        out.line(json_ ? to_line(line) : to_text_line(line));
        if (!out.open())
          return exit_code::done;
      }
    }
    return exit_code::done;
  }

  /// An error if the journal has never seen the subscription.
  static result<void> check_subscription(journal_reader& journal, const std::filesystem::path& journal_dir,
                                         const std::string& name) {
    const auto history = journal.load_cursor(internal::subscription_history_name(name));
    if (!history)
      return history.error();
    const auto letters = journal.head_of(*internal::find_dead_letter_stream(name));
    if (!letters)
      return letters.error();
    if (*history == 0 && letters->version == 0)
      return make_error(subscription_errc::no_such_letter,
                        "the journal in " + journal_dir.string() + " has no subscription " + name);
    return {};
  }

  static std::string to_text_line(const json& letter) {
    std::string line;
    for (auto* field : {"subscription", "position", "stream", "version", "type", "attempts", "parked_at"}) {
      auto text = to_line(letter[field]);
      if (letter[field].is_string())
        text = text.substr(1, text.size() - 2);
      line += text + "  ";
    }
    if (letter.contains("source"))
      line += "from service " + letter["source"].get<std::string>() + "  ";
    return line + (letter["replay_wanted"].get<bool>() ? "replay wanted  " : "") + to_line(letter["why"]);
  }

  result<exit_code> show(journal_reader& journal, output& out) {
    auto letters = list_dead_letters(journal, subscription_);
    if (!letters)
      return letters.error();
    auto letter = std::ranges::find(*letters, position_, &dead_letter::position);
    if (letter == letters->end())
      return make_error(subscription_errc::no_such_letter, "subscription " + subscription_ +
                                                               " has no dead letter at position " +
                                                               std::to_string(position_));
    out.line(to_line(to_json(subscription_, *letter)));
    const auto event = read_dead_letter_event(journal, subscription_, *letter);
    if (!event)
      return event.error();
    event_printer printer{journal, out};
    if (letter->source.empty())
      printer.print(*event);
    else
      printer.print_undecoded(*event);
    return printer.all_sound() ? exit_code::done : exit_code::found_wrong;
  }

  result<exit_code> decide(const std::filesystem::path& journal_dir, output& out) {
    auto opened = journal_operator::open(journal_dir);
    if (!opened)
      return opened.error();
    const bool replay = action_ == "replay";
    const auto position = all_ ? std::nullopt : std::optional{position_};
    auto count = decide(*opened, replay, position);
    if (!count)
      return count.error();
    out.line(subscription_ + ": " + std::to_string(*count) + (*count == 1 ? " letter" : " letters") +
             (replay ? " to be replayed" : " dropped") +
             (replay && opened->node() == 0 ? " when a node runs the subscription" : ""));
    return exit_code::done;
  }

  result<std::size_t> decide(journal_operator& with, bool replay,
                             std::optional<log_position> position) const {
    if (auto* journal = with.writer())
      return replay ? want_dead_letters_replayed(*journal, subscription_, position)
                    : drop_dead_letters(*journal, subscription_, position);
    nlohmann::json request{
        {"request", replay ? internal::replay_dead_letters_request : internal::drop_dead_letters_request},
        {"subscription", subscription_}};
    if (position)
      request["position"] = *position;
    auto answer = with.ask(request);
    if (!answer)
      return answer.error();
    return answer->value("letters", std::size_t{0});
  }

  std::string action_;
  std::string subscription_;
  log_position position_ = 0;
  bool all_ = false;
  bool json_ = false;
};

const registered_verb<dead_letters> registration{
    "dead-letters", "Lists events that subscriptions gave up, and replays or drops them"};

} // namespace

} // namespace eventcore::cli
