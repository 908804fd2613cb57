#include <eventcore/runtime/internal/config_file.hpp>

#include <eventcore/persistence/errc.hpp>

#include <caf/detail/ini_consumer.hpp>
#include <caf/detail/parser/read_ini.hpp>
#include <caf/parser_state.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

namespace eventcore::internal {

namespace {

struct parsing {
  caf::string_parser_state state;
  std::vector<config_entry> found;
};

/// Takes the keys of a group and of the groups in it, in the form that CAF's parser calls for.
class group_reader : public caf::detail::abstract_ini_consumer {
public:
  group_reader(parsing& all, std::string group)
      : all_{all}
      , group_{std::move(group)} {}

  void key(std::string name) {
    key_ = std::move(name);
    line_ = all_.state.line;
  }
  group_reader begin_map() { return {all_, group_.empty() ? key_ : group_ + '.' + key_}; }
  void end_map() {}
  void value_impl(caf::config_value&& value) override {
    all_.found.push_back({group_, key_, line_, std::move(value)});
  }

private:
  parsing& all_;
  std::string group_;
  std::string key_;
  std::int32_t line_ = 0;
};

/// The groups of the file. What stands before the first one is in a group `global`, which CAF's parser adds.
class file_reader : public caf::detail::abstract_ini_consumer {
public:
  explicit file_reader(parsing& all)
      : all_{all} {}

  void key(std::string name) { group_ = name == "global" ? std::string{} : std::move(name); }
  group_reader begin_map() { return {all_, group_}; }
  void value_impl(caf::config_value&&) override {}

private:
  parsing& all_;
  std::string group_;
};

} // namespace

result<std::vector<config_entry>> parse_config_file(const std::filesystem::path& file) {
  errno = 0;
  std::ifstream in{file, std::ios::binary};
  std::ostringstream read;
  if (in.is_open() && in.peek() != std::ifstream::traits_type::eof())
    read << in.rdbuf();
  if (!in.is_open() || in.bad())
    return make_error(journal_errc::invalid_argument,
                      file.string() + ": the configuration file cannot be read: " + std::strerror(errno));
  const auto text = std::move(read).str();
  const caf::string_view view{text};
  parsing all{caf::string_parser_state{view.begin(), view.end()}, {}};
  caf::detail::parser::read_ini(all.state, file_reader{all});
  if (all.state.code != caf::pec::success) {
    // CAF counts the end of a line to the next one.
    const auto read_so_far = std::string_view{text}.substr(0, all.state.i - view.begin());
    const auto line = std::ranges::count(read_so_far, '\n') + 1;
    const auto column = read_so_far.size() - (read_so_far.rfind('\n') + 1) + 1; // npos + 1 is 0
    return make_error(journal_errc::invalid_argument,
                      file.string() + ':' + std::to_string(line) + ": column " + std::to_string(column) +
                          ": " + to_string(all.state.code) +
                          "; a configuration file has groups like [eventcore.cluster], lines like key = "
                          "\"text\", key = 12, key = 5s, key = true or key = [\"a\", \"b\"], and comments "
                          "after a semicolon");
  }
  return std::move(all.found);
}

} // namespace eventcore::internal
