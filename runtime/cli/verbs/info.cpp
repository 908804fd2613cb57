#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <set>

namespace eventcore::cli {

namespace {

class info final : public verb {
  void declare(CLI::App& app) override {
    app.add_flag("--json", json_, "Print one line of JSON");
    app.add_flag("--types", types_, "List the event types, each with the position of its first event");
    app.footer("Example:\n"
               "  eventcore info -j build/permits-journal --types\n"
               "\n"
               "A type is listed once for each form in which it was written.");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    const auto journal = open_lmdb_journal_reader(journal_dir);
    if (!journal)
      return journal.error();
    const auto head = (*journal)->head();
    if (!head)
      return head.error();
    const auto types = (*journal)->event_types();
    if (!types)
      return types.error();
    std::set<std::string_view> names;
    for (const auto& type : *types)
      names.insert(type.name);

    const auto& about = (*journal)->info();
    nlohmann::ordered_json json{{"journal", journal_dir.string()},
                                {"id", to_string(about.id)},
                                {"incarnation", to_string(about.incarnation)},
                                {"format_version", about.format_version},
                                {"service", about.service},
                                {"created_at", to_text(about.created_at)},
                                {"head", *head},
                                {"file_bytes", size_of(journal_dir)},
                                {"event_types", names.size()}};
    if (!json_)
      for (const auto& [name, value] : json.items())
        out.line(name + std::string(16 - name.size(), ' ') + plain(value));
    if (types_) {
      auto list = nlohmann::ordered_json::array();
      for (const auto& type : *types) {
        list.push_back({{"type", type.name}, {"first_position", type.first_position}});
        if (!json_)
          out.line("  " + type.name + " from position " + std::to_string(type.first_position));
      }
      json["types"] = std::move(list);
    }
    if (json_)
      out.line(to_line(json));
    return exit_code::done;
  }

  static std::string plain(const nlohmann::ordered_json& value) {
    if (!value.is_string())
      return value.dump();
    const auto& text = value.get_ref<const std::string&>();
    return text.empty() ? "-" : text;
  }

  static std::uintmax_t size_of(const std::filesystem::path& dir) {
    std::uintmax_t bytes = 0;
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator{dir, ignored})
      if (const auto size = file.file_size(ignored); !ignored)
        bytes += size;
    return bytes;
  }

  bool json_ = false;
  bool types_ = false;
};

const registered_verb<info> registration{"info", "Says what a journal is: id, age, head, size, event types"};

} // namespace

} // namespace eventcore::cli
