#pragma once

#include <string>

namespace google::protobuf {
class Descriptor;
} // namespace google::protobuf

namespace eventcore::internal {

/// A serialised google.protobuf.FileDescriptorSet with the file of `type` and all that it needs, dependencies first.
std::string describe_type(const google::protobuf::Descriptor& type);

} // namespace eventcore::internal
