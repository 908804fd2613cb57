#include <eventcore/runtime/cli/verb.hpp>

#include <charconv>

namespace eventcore::cli {

std::vector<verb_entry>& verbs() {
  static std::vector<verb_entry> all;
  return all;
}

CLI::Validator is_number(std::uint64_t least) {
  return CLI::Validator{[least](std::string& text) {
                          std::uint64_t number = 0;
                          const auto* end = text.data() + text.size();
                          const auto [stop, code] = std::from_chars(text.data(), end, number);
                          if (code == std::errc{} && stop == end && number >= least)
                            return std::string{};
                          return text + " is no whole number from " + std::to_string(least) + " on";
                        },
                        ""};
}

CLI::Validator is_stream_id() {
  return CLI::Validator{[](std::string& text) {
                          const auto id = stream_id::parse(text);
                          return id ? std::string{} : id.error().message();
                        },
                        ""};
}

CLI::Validator is_category() {
  return CLI::Validator{[](std::string& text) {
                          const auto id = stream_id::of(text, "x");
                          return id ? std::string{} : id.error().message();
                        },
                        ""};
}

} // namespace eventcore::cli
