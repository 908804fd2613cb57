#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class FieldDescriptor;
class Message;
} // namespace google::protobuf

/// Personal data in Protobuf messages of any pool: fields that the schema marks with (eventcore.personal), and e-mail addresses
/// in any text, at any depth: nested, repeated, in maps (keys too), oneofs, extensions and `google.protobuf.Any`. A mark counts if it is
/// in the message's own schema, or in that which the program was compiled with, found by type name and field numbers: a field that is
/// marked later is personal in older messages, too.
namespace eventcore::internal {

/// What marked text becomes.
inline constexpr std::string_view masked_text = "***";

struct personal_findings {
  /// `mask` would change the message: it holds personal data that is not masked, or bytes that its schema does not describe.
  bool any = false;
  /// A marked field whose text stands in the key that was looked for. Null: none.
  const google::protobuf::FieldDescriptor* in_key = nullptr;
};

/// Looks for personal data in `message`, and for marked text in `key`, of four bytes at least unless it is all of the key.
personal_findings find_personal_data(const google::protobuf::Message& message, std::string_view key);

/// Masks it. Marked text becomes `***`, or `***@***.***` if an e-mail address was in it; marked numbers become 0, bytes and messages
/// empty, other lists than of text and maps empty; what is set stays set. Unmarked text keeps all but its addresses. Bytes that
/// the schema does not describe are dropped, and an `Any` of a type that is not known with it. Masked twice is masked once.
void mask_personal_data(google::protobuf::Message& message);

} // namespace eventcore::internal
