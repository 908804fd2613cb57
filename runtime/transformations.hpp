#pragma once

#include <eventcore/runtime/event_draft.hpp>
#include <eventcore/runtime/federation_errc.hpp>

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// Changes an event on its way to a target. It works on a copy; an error, or an exception, keeps the event from this target: it
/// is tried again, and then parked in a dead-letter stream. Pure, and called from any thread, several at a time.
using transformation = std::function<result<void>(event_draft&)>;

/// `***` for every field that the schema marks with (eventcore.personal), and `***@***.***` for every e-mail address in any text,
/// at any depth. Bytes that the schema does not describe are dropped. Of the metadata, the user becomes `***`, the headers, which
/// no schema describes, are dropped, and addresses in the other fields are masked. An event without all this is not changed.
///
/// A stream's name cannot be changed. If an address stands in it, or marked text in its key, the event must not leave the
/// service: error `personal_stream_id`.
transformation anonymize_pii();

/// Renames events whose type's name begins with the word `from`: with `User` and `Customer`, `shop.UserCreated` becomes
/// `shop.CustomerCreated`, but `shop.Superuser` and `shop.Username` stay. The payload is not changed.
transformation rename_type_word(std::string from, std::string to);

/// Transformations by name, as rules call them. A new one has the built-in ones: `anonymize_pii`, and `user_to_customer`, which is
/// `rename_type_word("User", "Customer")`.
class transformations {
public:
  transformations();

  /// Throws `std::logic_error` if the name is empty or taken.
  transformations& add(const std::string& name, transformation t);

  /// Error: `unknown_transformation`, which names it and those that there are.
  result<transformation> find(std::string_view name) const;
  bool contains(std::string_view name) const { return by_name_.contains(name); }
  /// Sorted.
  std::vector<std::string> names() const;

private:
  std::map<std::string, transformation, std::less<>> by_name_;
};

struct named_transformation {
  std::string name;
  transformation apply;
};

/// Applies `steps` in their order. Errors: `transformation_failed`, if one throws, or changes what identifies the event;
/// otherwise its own. All name the transformation and the event; the draft is then of no use.
result<void> transform(event_draft& draft, std::span<const named_transformation> steps);

} // namespace eventcore
