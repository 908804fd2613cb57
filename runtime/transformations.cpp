#include <eventcore/runtime/transformations.hpp>

#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/runtime/internal/federation/emails.hpp>
#include <eventcore/runtime/internal/federation/personal_data.hpp>

#include <google/protobuf/descriptor.h>

#include <stdexcept>

namespace eventcore {

namespace {

using internal::mask_emails;

/// What no transformation may change.
struct identity {
  std::string event_id;
  std::string stream_id;
  std::uint64_t version;
  std::uint64_t position;
  std::string service_id;

  explicit identity(const DistributedEvent& e)
      : event_id{e.event_id()}
      , stream_id{e.stream_id()}
      , version{e.version()}
      , position{e.position()}
      , service_id{e.service_id()} {}

  /// The name of a field in which `e` differs; null if there is none.
  const char* changed_in(const DistributedEvent& e) const {
    return e.stream_id() != stream_id     ? "stream id"
           : e.event_id() != event_id     ? "event id"
           : e.version() != version       ? "version"
           : e.position() != position     ? "position"
           : e.service_id() != service_id ? "service id"
                                          : nullptr;
  }
};

std::string describe(const named_transformation& step, const identity& of, const std::string& type) {
  return "transformation " + step.name + ", stream " + of.stream_id + ", version " +
         std::to_string(of.version) + ", position " + std::to_string(of.position) + ", type " + type + ": ";
}

/// Its own error, with the words of an exception.
result<void> run(const named_transformation& step, event_draft& draft) {
  try {
    return step.apply(draft);
  } catch (const std::exception& e) {
    return make_error(federation_errc::transformation_failed,
                      std::string{"it threw an exception: "} + e.what());
  } catch (...) {
    return make_error(federation_errc::transformation_failed, "it threw something that is no std::exception");
  }
}

void mask_text(std::string& text) {
  if (auto masked = mask_emails(text))
    text = *std::move(masked);
}

void mask_metadata(DistributedEvent& e) {
  if (!e.has_metadata())
    return;
  auto& m = *e.mutable_metadata();
  if (!m.user().empty())
    m.set_user(std::string{internal::masked_text});
  m.clear_headers();
  for (auto* text : {m.mutable_correlation_id(), m.mutable_causation_id(), m.mutable_tenant()})
    mask_text(*text);
  // What is no trace context may be anything.
  if (e.trace_id().empty())
    m.clear_traceparent();
  else
    mask_text(*m.mutable_traceparent());
}

result<void> anonymize(event_draft& draft) {
  auto& e = draft.event();
  auto payload = draft.payload();
  if (!payload)
    return payload.error();
  // All of a name without a '-': npos + 1 is 0.
  const auto key = std::string_view{e.stream_id()}.substr(e.stream_id().find('-') + 1);
  const auto found = internal::find_personal_data(**payload, key);
  const auto keep_here = [&](const std::string& why) {
    return make_error(federation_errc::personal_stream_id,
                      "the stream's name " + why +
                          ", and cannot be changed, so the event must not leave its service; name streams by "
                          "something that is not personal");
  };
  if (internal::holds_email(e.stream_id()))
    return keep_here("holds an e-mail address");
  if (found.in_key != nullptr)
    return keep_here("holds what the field " + found.in_key->full_name() + " does, which is marked personal");
  mask_metadata(e);
  if (found.any)
    internal::mask_personal_data(**draft.change_payload());
  return {};
}

/// Whether `name` begins with the word `word`, as in `UserCreated`, `User` and `User_2`.
bool begins_with_word(std::string_view name, std::string_view word) {
  if (!name.starts_with(word))
    return false;
  const auto rest = name.substr(word.size());
  return rest.empty() || rest[0] == '_' || (rest[0] >= 'A' && rest[0] <= 'Z');
}

} // namespace

transformation anonymize_pii() {
  return anonymize;
}

transformation rename_type_word(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](event_draft& draft) -> result<void> {
    auto& type = *draft.event().mutable_event_type();
    const auto name = type.rfind('.') + 1; // 0 where there is no package
    if (begins_with_word(std::string_view{type}.substr(name), from))
      type.replace(name, from.size(), to);
    return {};
  };
}

// -- transformations

transformations::transformations() {
  add("anonymize_pii", anonymize_pii());
  add("user_to_customer", rename_type_word("User", "Customer"));
}

transformations& transformations::add(const std::string& name, transformation t) {
  if (name.empty() || !by_name_.emplace(name, std::move(t)).second)
    throw std::logic_error{"eventcore: " + (name.empty() ? "a transformation needs a name"
                                                         : "there is a transformation " + name + " already")};
  return *this;
}

result<transformation> transformations::find(std::string_view name) const {
  if (const auto found = by_name_.find(name); found != by_name_.end())
    return found->second;
  std::string known;
  for (const auto& [other, t] : by_name_)
    known += (known.empty() ? "" : ", ") + internal::quoted(other);
  return make_error(federation_errc::unknown_transformation,
                    "unknown transformation " + internal::quoted(name) + "; registered are: " + known);
}

std::vector<std::string> transformations::names() const {
  std::vector<std::string> all;
  for (const auto& [name, t] : by_name_)
    all.push_back(name);
  return all;
}

result<void> transform(event_draft& draft, std::span<const named_transformation> steps) {
  const identity original{draft.event()};
  const auto type = draft.event().event_type();
  for (const auto& step : steps) {
    if (auto done = run(step, draft); !done)
      return error{done.error().code(), describe(step, original, type) + done.error().message()};
    if (const auto* field = original.changed_in(draft.event()))
      return make_error(
          federation_errc::transformation_failed,
          describe(step, original, type) + "it changed the " + field +
              ", which identifies the event and must stay; change metadata, event type and payload");
    if (!draft.event().payload().empty())
      return make_error(federation_errc::transformation_failed,
                        describe(step, original, type) +
                            "it set the payload's bytes; use change_payload or replace_payload");
  }
  return {};
}

} // namespace eventcore
