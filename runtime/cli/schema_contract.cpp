#include <eventcore/runtime/cli/schema_contract.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/schema.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

namespace eventcore::cli {

namespace {

namespace pb = google::protobuf;

// -- loading --

error cannot_load(const std::filesystem::path& source, const std::string& why) {
  return make_error(journal_errc::cannot_open, source.string() + ": " + why);
}

/// Keeps the first complaint.
class first_error final : public pb::DescriptorPool::ErrorCollector {
public:
  std::string text;

private:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (text.empty())
      text = file + ": " + element + ": " + message;
  }
};

/// Builds `files` into `pool`. Empty if all is well; else what is wrong.
std::string build(const pb::FileDescriptorSet& files, pb::DescriptorPool& pool) {
  first_error errors;
  for (const auto& file : files.file())
    if (pool.BuildFileCollectingErrors(file, &errors) == nullptr)
      return errors.text.empty() ? file.name() + " is wrong" : errors.text;
  return {};
}

result<loaded_contract> load_journal(const std::filesystem::path& dir) {
  const auto journal = open_lmdb_journal_reader(dir);
  if (!journal)
    return journal.error();
  const auto infos = (*journal)->event_types();
  if (!infos)
    return infos.error();
  loaded_contract loaded;
  for (const auto& info : *infos) {
    const auto& pool = loaded.pools.emplace_back(std::make_unique<pb::DescriptorPool>());
    pb::FileDescriptorSet files;
    auto wrong = files.ParseFromString(info.descriptors) ? build(files, *pool) : "cannot be parsed";
    const auto* type = wrong.empty() ? pool->FindMessageTypeByName(info.name) : nullptr;
    if (wrong.empty() && type == nullptr)
      wrong = "do not describe the type";
    if (!wrong.empty())
      return cannot_load(dir, "the descriptors of type " + info.name + " from position " +
                                  std::to_string(info.first_position) + " are damaged: " + wrong);
    loaded.types[info.name].push_back(type);
  }
  return loaded;
}

void add_message(const pb::Descriptor& type, contract& to) {
  if (type.options().map_entry())
    return;
  to[type.full_name()] = {&type};
  for (int i = 0; i < type.nested_type_count(); ++i)
    add_message(*type.nested_type(i), to);
}

bool is_of_package(const std::string& name, const std::string& package) {
  return name.starts_with(package + ".");
}

result<loaded_contract> load_file(const std::filesystem::path& source) {
  constexpr auto expected = "a file that 'protoc --include_imports -o FILE' wrote, or a journal's folder";
  std::ifstream in{source, std::ios::binary};
  if (!in)
    return cannot_load(source, std::string{"cannot be read: "} + std::strerror(errno));
  const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
  pb::FileDescriptorSet files;
  if (!files.ParseFromString(bytes) || files.file().empty())
    return cannot_load(source, std::string{"holds no descriptors; name "} + expected);
  loaded_contract loaded;
  auto& pool = *loaded.pools.emplace_back(std::make_unique<pb::DescriptorPool>());
  if (const auto wrong = build(files, pool); !wrong.empty())
    return cannot_load(source,
                       "the descriptors are not complete or not sound (" + wrong + "); name " + expected);
  for (const auto& file : files.file()) {
    const auto& built = *pool.FindFileByName(file.name());
    for (int i = 0; i < built.message_type_count(); ++i)
      if (const auto& name = built.message_type(i)->full_name();
          !is_of_package(name, "google") && !is_of_package(name, "eventcore"))
        add_message(*built.message_type(i), loaded.types);
  }
  return loaded;
}

// -- printing --

/// In quotes, with nothing that would break a line.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

/// `ranges` hold first and last numbers.
std::string reserved_text(std::vector<std::pair<int, int>> ranges, int max,
                          const std::vector<std::string>& names) {
  std::ranges::sort(ranges);
  std::string text;
  const auto add = [&](const std::string& item) { text += (text.empty() ? "  reserved " : ", ") + item; };
  for (const auto& [first, last] : ranges)
    add(std::to_string(first) +
        (last == first ? "" : " to " + (last >= max ? std::string{"max"} : std::to_string(last))));
  for (const auto& name : names)
    add(quoted(name));
  return text;
}

template <class T>
std::vector<std::string> reserved_names_of(const T& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.reserved_name_count(); ++i)
    names.push_back(type.reserved_name(i));
  return names;
}

std::string field_text(const pb::FieldDescriptor& field) {
  auto text = "  " + std::to_string(field.number()) + " ";
  if (field.is_required())
    text += "required ";
  else if (field.is_repeated() && !field.is_map())
    text += "repeated ";
  else if (field.has_optional_keyword())
    text += "optional ";
  text += type_text(field) + " " + field.name();
  if (const auto* oneof = field.real_containing_oneof())
    text += " (oneof " + oneof->name() + ")";
  return text;
}

std::vector<std::string> message_lines(const pb::Descriptor& type) {
  auto head = "message " + type.full_name() + ", schema version " + std::to_string(schema_version_of(type));
  for (const auto& name : former_names_of(type))
    head += ", formerly " + quoted(name);
  std::vector<std::string> lines{head};
  std::map<int, const pb::FieldDescriptor*> fields;
  for (int i = 0; i < type.field_count(); ++i)
    fields[type.field(i)->number()] = type.field(i);
  for (const auto& [number, field] : fields)
    lines.push_back(field_text(*field));
  std::vector<std::pair<int, int>> ranges;
  for (int i = 0; i < type.reserved_range_count(); ++i)
    ranges.emplace_back(type.reserved_range(i)->start, type.reserved_range(i)->end - 1);
  if (auto reserved = reserved_text(ranges, pb::FieldDescriptor::kMaxNumber, reserved_names_of(type));
      !reserved.empty())
    lines.push_back(std::move(reserved));
  return lines;
}

std::vector<std::string> enum_lines(const pb::EnumDescriptor& type) {
  std::vector<std::string> lines{"enum " + type.full_name()};
  std::set<std::pair<int, std::string>> values;
  for (int i = 0; i < type.value_count(); ++i)
    values.emplace(type.value(i)->number(), type.value(i)->name());
  for (const auto& [number, name] : values)
    lines.push_back("  " + std::to_string(number) + " " + name);
  std::vector<std::pair<int, int>> ranges;
  for (int i = 0; i < type.reserved_range_count(); ++i)
    ranges.emplace_back(type.reserved_range(i)->start, type.reserved_range(i)->end);
  if (auto reserved = reserved_text(ranges, std::numeric_limits<int>::max(), reserved_names_of(type));
      !reserved.empty())
    lines.push_back(std::move(reserved));
  return lines;
}

} // namespace

result<loaded_contract> load_contract(const std::filesystem::path& source) {
  std::error_code code;
  const auto status = std::filesystem::status(source, code);
  if (!std::filesystem::exists(status))
    return cannot_load(source, "there is no such file or folder");
  return std::filesystem::is_directory(status) ? load_journal(source) : load_file(source);
}

std::string type_text(const pb::FieldDescriptor& field) {
  if (field.is_map())
    return "map<" + type_text(*field.message_type()->map_key()) + ", " +
           type_text(*field.message_type()->map_value()) + ">";
  if (const auto* type = field.message_type())
    return (field.type() == pb::FieldDescriptor::TYPE_GROUP ? "group " : "") + type->full_name();
  if (const auto* type = field.enum_type())
    return type->full_name();
  return field.type_name();
}

std::vector<std::string> print_contract(const contract& types) {
  // A type that is used may have several forms, too, if those who use it were written at different times.
  std::set<std::pair<std::string, std::vector<std::string>>> blocks;
  std::set<const pb::Descriptor*> seen;
  std::deque<const pb::Descriptor*> open;
  const auto visit = [&](const pb::Descriptor* type) {
    if (seen.insert(type).second)
      open.push_back(type);
  };
  for (const auto& [name, forms] : types)
    visit(forms.back());
  for (; !open.empty(); open.pop_front()) {
    const auto& type = *open.front();
    if (!type.options().map_entry())
      blocks.emplace(type.full_name(), message_lines(type));
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& field = *type.field(i);
      if (const auto* used = field.message_type(); used && !is_of_package(used->full_name(), "google"))
        visit(used);
      if (const auto* used = field.enum_type(); used && !is_of_package(used->full_name(), "google"))
        blocks.emplace(used->full_name(), enum_lines(*used));
    }
  }
  std::vector<std::string> lines;
  for (const auto& [name, block] : blocks)
    lines.insert(lines.end(), block.begin(), block.end());
  return lines;
}

} // namespace eventcore::cli
