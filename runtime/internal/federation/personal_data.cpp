#include <eventcore/runtime/internal/federation/personal_data.hpp>

#include <eventcore/persistence/schema.hpp>
#include <eventcore/runtime/internal/federation/emails.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <memory>
#include <set>
#include <vector>

namespace eventcore::internal {

namespace {

namespace pb = google::protobuf;
using field = pb::FieldDescriptor;

/// Messages in an `Any` in an `Any` and so on; what is deeper is taken for unknown.
constexpr int deepest_any = 16;
/// Shorter text is found in a key by chance.
constexpr std::size_t telling_size = 4;

bool is_any(const pb::Message& message) {
  return message.GetDescriptor()->full_name() == "google.protobuf.Any";
}

/// The same type as the program was compiled with, if that is another form of it: marks may have come since.
const pb::Descriptor* compiled_form(const pb::Descriptor& type) {
  const auto* pool = pb::DescriptorPool::generated_pool();
  return type.file()->pool() == pool ? nullptr : pool->FindMessageTypeByName(type.full_name());
}

/// The field in the compiled form of its message; null: there is none.
const field* compiled_form(const field& f, const pb::Descriptor* message) {
  if (message == nullptr)
    return nullptr;
  return f.is_extension() ? pb::DescriptorPool::generated_pool()->FindExtensionByNumber(message, f.number())
                          : message->FindFieldByNumber(f.number());
}

/// Of the message in a field: by its place, so that its type may have had another name.
const pb::Descriptor* compiled_form(const pb::Message& inner, const field* compiled) {
  return compiled != nullptr && compiled->message_type() != nullptr ? compiled->message_type()
                                                                    : compiled_form(*inner.GetDescriptor());
}

bool is_marked(const field& f, const field* compiled) {
  return is_personal(f) || (compiled != nullptr && is_personal(*compiled));
}

email_form form_of(const field& f) {
  return f.type() == field::TYPE_BYTES ? email_form::binary : email_form::text;
}

std::vector<const field*> fields_of(const pb::Message& message) {
  std::vector<const field*> set;
  message.GetReflection()->ListFields(message, &set);
  return set;
}

/// Calls `f` with each text, or bytes, of the field.
template <class F>
void for_each_string(const pb::Message& message, const field& of, F f) {
  const auto& reflection = *message.GetReflection();
  std::string scratch;
  if (!of.is_repeated())
    return f(reflection.GetStringReference(message, &of, &scratch));
  for (int i = 0; i < reflection.FieldSize(message, &of); ++i)
    f(reflection.GetRepeatedStringReference(message, &of, i, &scratch));
}

template <class F>
void for_each_message(const pb::Message& message, const field& of, F f) {
  const auto& reflection = *message.GetReflection();
  if (!of.is_repeated())
    return f(reflection.GetMessage(message, &of));
  for (int i = 0; i < reflection.FieldSize(message, &of); ++i)
    f(reflection.GetRepeatedMessage(message, &of, i));
}

template <class F>
void for_each_mutable_message(pb::Message& message, const field& of, F f) {
  const auto& reflection = *message.GetReflection();
  if (!of.is_repeated())
    return f(*reflection.MutableMessage(&message, &of));
  for (int i = 0; i < reflection.FieldSize(message, &of); ++i)
    f(*reflection.MutableRepeatedMessage(&message, &of, i));
}

// -- Any --

constexpr int type_url_number = 1;
constexpr int value_number = 2;

/// What an `Any` holds. Null: its type is not known here, or the content is no message of it.
std::unique_ptr<pb::Message> unpack(const pb::Message& any) {
  const auto& type = *any.GetDescriptor();
  const auto& reflection = *any.GetReflection();
  const auto url = reflection.GetString(any, type.FindFieldByNumber(type_url_number));
  const auto* inner = type.file()->pool()->FindMessageTypeByName(url.substr(url.rfind('/') + 1));
  const auto* prototype = inner != nullptr ? reflection.GetMessageFactory()->GetPrototype(inner) : nullptr;
  if (prototype == nullptr)
    return nullptr;
  std::unique_ptr<pb::Message> content{prototype->New()};
  if (!content->ParseFromString(reflection.GetString(any, type.FindFieldByNumber(value_number))))
    return nullptr;
  return content;
}

// -- finding --

class search {
public:
  explicit search(std::string_view key)
      : key_{key} {}

  /// `mark`: the marked field that holds the message, if any.
  void look_at(const pb::Message& message, const pb::Descriptor* compiled, const field* mark = nullptr,
               int anys = 0) {
    if (!message.GetReflection()->GetUnknownFields(message).empty())
      findings.any = true;
    if (is_any(message)) {
      findings.any = true;
      if (const auto content = anys < deepest_any ? unpack(message) : nullptr)
        look_at(*content, compiled_form(*content->GetDescriptor()), mark, anys + 1);
      return;
    }
    for (const auto* f : fields_of(message)) {
      const auto* now = compiled_form(*f, compiled);
      const auto* marked_by = mark != nullptr ? mark : is_marked(*f, now) ? f : nullptr;
      if (marked_by != nullptr)
        findings.any = true;
      if (f->cpp_type() == field::CPPTYPE_STRING)
        for_each_string(message, *f, [&](const std::string& text) { look_at(text, *f, marked_by); });
      else if (f->cpp_type() == field::CPPTYPE_MESSAGE)
        for_each_message(message, *f, [&](const pb::Message& inner) {
          look_at(inner, compiled_form(inner, now), marked_by, anys);
        });
    }
  }

  personal_findings findings;

private:
  void look_at(const std::string& text, const field& f, const field* mark) {
    if (mark == nullptr)
      findings.any = findings.any || holds_email(text, form_of(f));
    else if (!text.empty() &&
             (text == key_ || (text.size() >= telling_size && key_.find(text) != std::string_view::npos)))
      findings.in_key = mark;
  }

  std::string_view key_;
};

// -- masking --

void fill_required(pb::Message& message);

/// Sets a single field to the emptiest value that it can have.
void set_empty(pb::Message& message, const field& f) {
  const auto& reflection = *message.GetReflection();
  switch (f.cpp_type()) {
  case field::CPPTYPE_STRING:
    return reflection.SetString(&message, &f, {});
  case field::CPPTYPE_INT32:
    return reflection.SetInt32(&message, &f, 0);
  case field::CPPTYPE_INT64:
    return reflection.SetInt64(&message, &f, 0);
  case field::CPPTYPE_UINT32:
    return reflection.SetUInt32(&message, &f, 0);
  case field::CPPTYPE_UINT64:
    return reflection.SetUInt64(&message, &f, 0);
  case field::CPPTYPE_DOUBLE:
    return reflection.SetDouble(&message, &f, 0);
  case field::CPPTYPE_FLOAT:
    return reflection.SetFloat(&message, &f, 0);
  case field::CPPTYPE_BOOL:
    return reflection.SetBool(&message, &f, false);
  case field::CPPTYPE_ENUM:
    return reflection.SetEnum(&message, &f, f.enum_type()->value(0));
  case field::CPPTYPE_MESSAGE: {
    auto& inner = *reflection.MutableMessage(&message, &f);
    inner.Clear();
    return fill_required(inner);
  }
  }
}

void fill_required(pb::Message& message) {
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i)
    if (type.field(i)->is_required())
      set_empty(message, *type.field(i));
}

std::string masked(const std::string& marked_text) {
  if (marked_text.empty() || marked_text == masked_email)
    return marked_text;
  return std::string{holds_email(marked_text) ? masked_email : masked_text};
}

void wipe(pb::Message& message, const field& f) {
  const auto& reflection = *message.GetReflection();
  const bool text = f.type() == field::TYPE_STRING;
  if (text && f.is_repeated())
    for (int i = 0; i < reflection.FieldSize(message, &f); ++i)
      reflection.SetRepeatedString(&message, &f, i, masked(reflection.GetRepeatedString(message, &f, i)));
  else if (text)
    reflection.SetString(&message, &f, masked(reflection.GetString(message, &f)));
  else if (f.is_repeated())
    reflection.ClearField(&message, &f);
  else
    set_empty(message, f);
}

void mask_strings(pb::Message& message, const field& f) {
  const auto& reflection = *message.GetReflection();
  int i = 0;
  for_each_string(message, f, [&](const std::string& text) {
    if (auto without = mask_emails(text, form_of(f))) {
      if (f.is_repeated())
        reflection.SetRepeatedString(&message, &f, i, *std::move(without));
      else
        reflection.SetString(&message, &f, *std::move(without));
    }
    ++i;
  });
}

/// Masks the keys of a map, which stay different.
void mask_keys(pb::Message& message, const field& map) {
  const auto& key = *map.message_type()->map_key();
  if (key.type() != field::TYPE_STRING)
    return;
  std::vector<pb::Message*> to_mask;
  std::set<std::string> taken;
  for_each_mutable_message(message, map, [&](pb::Message& entry) {
    if (auto name = entry.GetReflection()->GetString(entry, &key); holds_email(name))
      to_mask.push_back(&entry);
    else
      taken.insert(std::move(name));
  });
  for (auto* entry : to_mask) {
    const auto& reflection = *entry->GetReflection();
    const auto wanted = *mask_emails(reflection.GetString(*entry, &key));
    auto name = wanted;
    for (int n = 2; !taken.insert(name).second; ++n)
      name = wanted + " (" + std::to_string(n) + ")";
    reflection.SetString(entry, &key, name);
  }
}

void mask(pb::Message& message, const pb::Descriptor* compiled, int anys);

void mask_any(pb::Message& any, int anys) {
  const auto content = anys < deepest_any ? unpack(any) : nullptr;
  if (content == nullptr)
    return any.Clear();
  mask(*content, compiled_form(*content->GetDescriptor()), anys + 1);
  const auto& type = *any.GetDescriptor();
  any.GetReflection()->SetString(&any, type.FindFieldByNumber(value_number), content->SerializeAsString());
  mask_strings(any, *type.FindFieldByNumber(type_url_number));
}

void mask(pb::Message& message, const pb::Descriptor* compiled, int anys) {
  if (is_any(message))
    return mask_any(message, anys);
  message.GetReflection()->MutableUnknownFields(&message)->Clear();
  for (const auto* f : fields_of(message)) {
    const auto* now = compiled_form(*f, compiled);
    if (is_marked(*f, now)) {
      wipe(message, *f);
    } else if (f->cpp_type() == field::CPPTYPE_STRING) {
      mask_strings(message, *f);
    } else if (f->cpp_type() == field::CPPTYPE_MESSAGE) {
      if (f->is_map())
        mask_keys(message, *f);
      for_each_mutable_message(message, *f,
                               [&](pb::Message& inner) { mask(inner, compiled_form(inner, now), anys); });
    }
  }
}

} // namespace

personal_findings find_personal_data(const pb::Message& message, std::string_view key) {
  search found{key};
  found.look_at(message, compiled_form(*message.GetDescriptor()));
  return found.findings;
}

void mask_personal_data(pb::Message& message) {
  mask(message, compiled_form(*message.GetDescriptor()), 0);
}

} // namespace eventcore::internal
