#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
} // namespace google::protobuf

namespace eventcore {

// What a message's or a field's descriptor says by the options of options.proto. The descriptor may be of any pool, also of
// one built from what a journal or a file holds.

/// The schema version that `type` declares by the option (eventcore.schema_version), at least 1; 1 if it declares none.
std::uint32_t schema_version_of(const google::protobuf::Descriptor& type);

/// The full names that `type` had before, by the option (eventcore.formerly), in the order of their declaration.
std::vector<std::string> former_names_of(const google::protobuf::Descriptor& type);

/// Whether the field is marked by the option (eventcore.personal).
bool is_personal(const google::protobuf::FieldDescriptor& field);

} // namespace eventcore
