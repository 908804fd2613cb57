#include <eventcore/actors/decider.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace eventcore::internal {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

bool holds_checked_text(const Descriptor& type, std::set<const Descriptor*>& seen) {
  if (!seen.insert(&type).second)
    return false;
  for (int i = 0; i < type.field_count(); ++i) {
    const auto* field = type.field(i);
    if (field->type() == FieldDescriptor::TYPE_STRING &&
        field->file()->syntax() == FileDescriptor::SYNTAX_PROTO3)
      return true;
    if (field->message_type() != nullptr && holds_checked_text(*field->message_type(), seen))
      return true;
  }
  return false;
}

} // namespace

bool holds_checked_text(const Descriptor& type) {
  std::set<const Descriptor*> seen;
  return holds_checked_text(type, seen);
}

void throw_not_serialisable(const google::protobuf::Message& event) {
  const auto missing = event.InitializationErrorString();
  throw std::runtime_error(
      "the event " + event.GetTypeName() + " cannot be serialised: " +
      (missing.empty() ? "it is larger than 2 GiB" : "its required field " + missing + " is not set"));
}

void throw_not_replayable(const google::protobuf::Message& event) {
  throw std::runtime_error("the event " + event.GetTypeName() +
                           " could not be read back: a field of type string holds bytes that are not UTF-8; "
                           "make it valid before persisting it, or declare the field as bytes");
}

} // namespace eventcore::internal
