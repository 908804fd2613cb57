#pragma once

#include <eventcore/persistence/error.hpp>
#include <eventcore/runtime/federation_target.hpp>

namespace google::protobuf {
class Descriptor;
} // namespace google::protobuf

namespace eventcore::internal {

/// The form of `type` under the full name `name`, which differs from its own in the last part alone: `shop.UserCreated` can be
/// `shop.CustomerCreated`. Another type of that name, which the form would have beside it, is renamed. Error:
/// `transformation_failed`, naming both.
result<event_form> describe_form(const google::protobuf::Descriptor& type, const std::string& name);

/// The descriptor that a form says. It lives as long as the process: a journal keeps it. Thread-safe. Error: `refused`, naming
/// the type and what is wrong with its form.
result<const google::protobuf::Descriptor*> type_of_form(const event_form& form);

} // namespace eventcore::internal
