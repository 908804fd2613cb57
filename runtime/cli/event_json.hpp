#pragma once

#include <eventcore/persistence/event_decoder.hpp>
#include <eventcore/runtime/cli/output.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace eventcore::cli {

/// RFC 3339 in UTC with microseconds. A time outside the years 0 to 9999 becomes its microseconds since the
/// epoch.
std::string to_text(timestamp t);

/// One line of JSON: no line ends, no control characters, and U+FFFD for bytes that are not UTF-8.
std::string to_line(const nlohmann::ordered_json& value);

/// Prints events as lines of JSON, decoded by the descriptors in their journal. What cannot be decoded or
/// read is printed as far as it is known, with an `error` in its line, and complained about.
class event_printer {
public:
  event_printer(journal_reader& journal, output& out);

  void print(const recorded_event& e);

  /// For an event of another journal, whose types this one need not know: the payload as it is.
  void print_undecoded(const recorded_event& e);

  /// For a record that cannot be read: `known` is what is known of it.
  void print_damaged(nlohmann::ordered_json known, const error& why);

  /// Whether every event was printed whole.
  bool all_sound() const noexcept { return all_sound_; }

private:
  void print_wrong(nlohmann::ordered_json line, const std::string& why);

  event_decoder decoder_;
  output& out_;
  bool all_sound_ = true;
};

/// For the help of verbs that print events.
extern const char* const event_lines_help;

} // namespace eventcore::cli
