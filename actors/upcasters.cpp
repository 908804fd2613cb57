#include <eventcore/actors/upcasters.hpp>

#include <eventcore/actors/fold.hpp>
#include <eventcore/persistence/schema.hpp>

#include <algorithm>
#include <stdexcept>

namespace eventcore {

void upcasters::add(const std::string& type, std::uint32_t from, step s) {
  if (from == 0)
    throw std::logic_error{"eventcore: schema versions begin with 1; the lift of " + type + " says 0"};
  if (!steps_[type].emplace(from, std::move(s)).second)
    throw std::logic_error{"eventcore: there are two lifts of " + type + " from schema version " +
                           std::to_string(from)};
}

namespace internal {

namespace {

[[noreturn]] void refuse(const fold_type& type, const std::string& why) {
  throw std::logic_error{"eventcore: category " + std::string{type.category} + ": " + why};
}

std::string version_text(const std::string& type, std::uint32_t version) {
  return type + " at schema version " + std::to_string(version);
}

void collect_names(fold_type& type) {
  for (std::uint16_t i = 0; i != type.events.size(); ++i) {
    auto& descriptor = *type.events[i].prototype->GetDescriptor();
    type.names.emplace_back(descriptor.full_name(), i);
    for (auto& former : former_names_of(descriptor))
      type.names.emplace_back(former, i);
  }
  std::ranges::sort(type.names);
  auto twice = std::ranges::adjacent_find(type.names, {}, &std::pair<std::string, std::uint16_t>::first);
  if (twice != type.names.end())
    refuse(type, "the events " + type.events[twice->second].prototype->GetTypeName() + " and " +
                     type.events[std::next(twice)->second].prototype->GetTypeName() +
                     " both claim the name " + twice->first + "; an event's former names are its own alone");
}

void check_lifts(const fold_type& type) {
  for (auto& [name, steps] : type.lifts.steps()) {
    auto row = std::ranges::find(type.events, name, [](auto& e) { return e.prototype->GetTypeName(); });
    if (row == type.events.end())
      refuse(type, "there is a lift of " + name +
                       ", which is none of the events (a renamed one goes by its new name)");
    auto expected = steps.begin()->first;
    const google::protobuf::Message* previous = nullptr;
    for (auto& [from, step] : steps) {
      if (from >= row->schema_version)
        refuse(type, "there is a lift of " + version_text(name, from) + ", but the present version is " +
                         std::to_string(row->schema_version));
      if (from != expected)
        refuse(type, "there is no lift of " + version_text(name, expected) + " on the way to version " +
                         std::to_string(row->schema_version));
      if (previous && previous->GetDescriptor() != step.from->GetDescriptor())
        refuse(type, "the lift of " + version_text(name, from) + " takes " + step.from->GetTypeName() +
                         ", but the one before makes " + previous->GetTypeName());
      previous = step.to;
      ++expected;
    }
    if (expected != row->schema_version)
      refuse(type, "there is no lift of " + version_text(name, expected) + " on the way to version " +
                       std::to_string(row->schema_version));
    if (previous->GetDescriptor() != row->prototype->GetDescriptor())
      refuse(type, "the last lift of " + name + " makes " + previous->GetTypeName() + " instead of " + name);
  }
}

} // namespace

void complete(fold_type& type, std::span<fold_type::event> rows) {
  std::ranges::sort(rows, {}, [](auto& row) { return row.prototype->GetTypeName(); });
  for (auto& row : rows)
    row.schema_version = schema_version_of(*row.prototype->GetDescriptor());
  type.events = rows;
  collect_names(type);
  check_lifts(type);
}

} // namespace internal

} // namespace eventcore
