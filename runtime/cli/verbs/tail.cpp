#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <algorithm>
#include <optional>

namespace eventcore::cli {

namespace {

/// The position from which on the log, up to `head`, holds `count` events that `filter` admits; 1 if it holds
/// fewer.
result<log_position> start_of_last(journal_reader& journal, const log_filter& filter, log_position head,
                                   std::uint64_t count) {
  if (count == 0)
    return head + 1;
  if (filter.categories.empty() && filter.types.empty())
    return head - std::min(head, count) + 1;
  // Backwards in windows that grow, each of which is read forwards.
  constexpr log_position first_window = 1'024;
  constexpr log_position last_window = 65'536;
  auto window = first_window;
  event_page page;
  std::vector<log_position> found;
  for (auto end = head + 1; end > 1; window = std::min(window * 4, last_window)) {
    const auto begin = end - std::min(window, end - 1);
    found.clear();
    for (auto next = begin; next < end;) {
      const auto read = journal.read_log(next, page, filter);
      for (const auto& e : page)
        if (e.position < end)
          found.push_back(e.position);
      if (!read && read.error().code() != journal_errc::corrupt)
        return read.error();
      if (!read)
        ++next;
    }
    if (found.size() >= count)
      return found[found.size() - count];
    count -= found.size();
    end = begin;
  }
  return log_position{1};
}

class tail final : public verb {
  void declare(CLI::App& app) override {
    auto* last = app.add_option("-n,--last", last_, "Begin with the last N events")
                     ->type_name("N")
                     ->check(is_number())
                     ->capture_default_str();
    app.add_option("--from", from_, "Begin with this position instead")
        ->type_name("POSITION")
        ->check(is_number(1))
        ->excludes(last);
    app.add_flag("-f,--follow", follow_, "Go on with what is committed, until interrupted");
    app.add_option("-c,--category", filter_.categories, "Only streams of this category (may be repeated)")
        ->type_name("CATEGORY")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->check(is_category());
    app.add_option("-t,--type", filter_.types,
                   "Only events of this type, such as bank.Deposited (may be repeated)")
        ->type_name("TYPE")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.footer(std::string{"Examples:\n"
                           "  eventcore tail -n 100\n"
                           "  eventcore tail --follow --category order --type shop.OrderPlaced\n"
                           "  eventcore tail --from 1            the whole log\n"
                           "\n"} +
               event_lines_help);
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    const auto opened = open_lmdb_journal_reader(journal_dir);
    if (!opened)
      return opened.error();
    auto& journal = **opened;
    auto head = journal.head();
    if (!head)
      return head.error();
    auto next = log_position{1};
    if (from_) {
      next = *from_;
    } else {
      const auto start = start_of_last(journal, filter_, *head, last_);
      if (!start)
        return start.error();
      next = *start;
    }
    if (follow_)
      out.close_on_signal();
    event_printer printer{journal, out};
    for (;;) {
      while (next <= *head && out.open())
        if (const auto printed = print_page(journal, next, *head, printer); !printed)
          return printed.error();
      out.flush();
      if (!follow_ || !out.open())
        break;
      out.pause(follow_interval_ms);
      head = journal.head();
      if (!head)
        return head.error();
    }
    if (!follow_ && !any_ && last_ > 0 && out.open())
      if (const auto wanted = what_is_wanted(); !wanted.empty()) {
        complain("the journal in " + journal_dir.string() + " has no event " + wanted +
                 (from_ ? " from position " + std::to_string(*from_) + " on" : ""));
        return exit_code::found_wrong;
      }
    return printer.all_sound() ? exit_code::done : exit_code::found_wrong;
  }

  /// What the filter admits; empty: everything.
  std::string what_is_wanted() const {
    std::string text;
    const auto add = [&](const char* what, const std::vector<std::string>& names) {
      for (const auto& name : names)
        text += (&name == &names.front() ? (text.empty() ? "" : " and ") + std::string{what} : " or ") + name;
    };
    add("of category ", filter_.categories);
    add("of type ", filter_.types);
    return text;
  }

  /// Prints from `next` on, and moves it behind what was printed, to `head` at most.
  result<void> print_page(journal_reader& journal, log_position& next, log_position head,
                          event_printer& printer) {
    const auto read = journal.read_log(next, page_, filter_);
    for (const auto& e : page_)
      if (e.position <= head) {
        printer.print(e);
        any_ = true;
      }
    next = std::min(next, head + 1);
    if (read)
      return {};
    if (read.error().code() != journal_errc::corrupt)
      return read.error();
    printer.print_damaged({{"position", next}}, read.error());
    any_ = true;
    ++next;
    return {};
  }

  static constexpr int follow_interval_ms = 50;

  std::uint64_t last_ = 10;
  std::optional<log_position> from_;
  bool follow_ = false;
  log_filter filter_;
  event_page page_;
  bool any_ = false; ///< was printed
};

const registered_verb<tail> registration{"tail", "Prints the newest events of the log, and follows it"};

} // namespace

} // namespace eventcore::cli
