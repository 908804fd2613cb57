#include <eventcore/persistence/schema.hpp>

#include <eventcore/persistence/options.pb.h>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>

namespace eventcore {

namespace {

/// Parsed again: in a pool of its own, the extensions may be unknown fields.
google::protobuf::MessageOptions options_of(const google::protobuf::Descriptor& type) {
  google::protobuf::MessageOptions options;
  options.ParsePartialFromString(type.options().SerializePartialAsString());
  return options;
}

} // namespace

std::uint32_t schema_version_of(const google::protobuf::Descriptor& type) {
  return std::max(options_of(type).GetExtension(schema_version), 1u);
}

std::vector<std::string> former_names_of(const google::protobuf::Descriptor& type) {
  const auto options = options_of(type);
  const auto& names = options.GetRepeatedExtension(formerly);
  return {names.begin(), names.end()};
}

bool is_personal(const google::protobuf::FieldDescriptor& field) {
  const auto& options = field.options();
  if (options.HasExtension(personal))
    return options.GetExtension(personal);
  // Asked for every field of every event that is masked, so nothing is parsed again here.
  bool marked = false;
  const auto& unknown = options.unknown_fields();
  for (int i = 0; i < unknown.field_count(); ++i)
    if (const auto& option = unknown.field(i); option.number() == kPersonalFieldNumber &&
                                               option.type() == google::protobuf::UnknownField::TYPE_VARINT)
      marked = option.varint() != 0;
  return marked;
}

} // namespace eventcore
