#pragma once

#include <eventcore/persistence/schema.hpp>

#include "people.pb.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/reflection.h>
#include <rapidcheck.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace eventcore::test {

/// Makes messages of any type in which all that is personal is unique, so that it can be searched for in any bytes.
class personal_writer {
public:
  /// What must not be found after masking: marked text and bytes, the bytes of marked numbers, and all e-mail addresses.
  const std::vector<std::string>& secrets() const noexcept { return secrets_; }

  /// Sets fields of `message` at random.
  void fill(google::protobuf::Message& message, bool marked = false, int depth = 0) {
    const auto& type = *message.GetDescriptor();
    const auto& reflection = *message.GetReflection();
    if (type.full_name() == "google.protobuf.Any")
      return fill_any(message, marked, depth);
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& f = *type.field(i);
      if (*rc::gen::inRange(0, 3) == 0)
        continue;
      const bool secret = marked || is_personal(f);
      for (auto n = f.is_repeated() ? *rc::gen::inRange(0, 4) : 1; n > 0; --n)
        set(message, reflection, f, secret, depth);
    }
  }

  /// An e-mail address that was not there before.
  std::string email() {
    const auto n = std::to_string(next_++);
    auto address = *rc::gen::element<std::string>(
        "u" + n + "@mail" + n + ".org", "first.last+" + n + "@h" + n + ".co.uk",
        "\"odd " + n + "\"@x" + n + ".net", "j\u00fcrgen" + n + "@b\u00fc" + n + ".de");
    // An address is found out by its domain alone, too.
    secrets_.push_back(address);
    secrets_.push_back(address.substr(address.rfind('@')));
    return address;
  }

private:
  std::string harmless() {
    return *rc::gen::element<std::string>("", "a", "ok", "2 @ 3", "@here", "Wien \u00d6", "%41");
  }

  std::string secret_text() {
    if (*rc::gen::inRange(0, 4) == 0)
      return email();
    auto text = "SECRET" + std::to_string(next_++) + "!";
    secrets_.push_back(text);
    return text;
  }

  std::string text(bool secret) {
    if (secret)
      return secret_text();
    if (*rc::gen::inRange(0, 3) > 0)
      return harmless();
    return harmless() + *rc::gen::element<std::string>(" ", "<", "mailto:", "to=") + email() +
           *rc::gen::element<std::string>(" ", ">", "; ", ".", ",") + harmless();
  }

  /// A number whose eight bytes tell it, and are remembered if it is secret.
  std::uint64_t number(bool secret) {
    const auto n = 0x9e3779b97f4a7c15u * (1'000 + static_cast<std::uint64_t>(next_++)) | std::uint64_t{1}
                                                                                             << 62;
    if (secret)
      secrets_.push_back({reinterpret_cast<const char*>(&n), sizeof n});
    return n;
  }

  void fill_any(google::protobuf::Message& any, bool marked, int depth) {
    const auto& type = *any.GetDescriptor();
    const auto& reflection = *any.GetReflection();
    people::Address inner;
    fill(inner, marked, depth + 1);
    const bool known = *rc::gen::arbitrary<bool>();
    reflection.SetString(&any, type.FindFieldByNumber(1),
                         known ? "type.googleapis.com/people.Address" : "type.googleapis.com/people.Nobody");
    reflection.SetString(&any, type.FindFieldByNumber(2), inner.SerializeAsString());
  }

  void set(google::protobuf::Message& message, const google::protobuf::Reflection& reflection,
           const google::protobuf::FieldDescriptor& f, bool secret, int depth) {
    using field = google::protobuf::FieldDescriptor;
    const bool repeated = f.is_repeated();
    switch (f.cpp_type()) {
    case field::CPPTYPE_STRING: {
      auto value = text(secret);
      if (f.type() == field::TYPE_BYTES)
        value = "\xff\x01" + value + std::string{"\0\xfe", 2};
      return repeated ? reflection.AddString(&message, &f, value) : reflection.SetString(&message, &f, value);
    }
    case field::CPPTYPE_MESSAGE: {
      if (depth > 2)
        return;
      auto& inner =
          repeated ? *reflection.AddMessage(&message, &f) : *reflection.MutableMessage(&message, &f);
      return f.is_map() ? fill_entry(inner, secret, depth + 1) : fill(inner, secret, depth + 1);
    }
    case field::CPPTYPE_UINT64:
      return repeated ? reflection.AddUInt64(&message, &f, fixed(f, secret))
                      : reflection.SetUInt64(&message, &f, fixed(f, secret));
    case field::CPPTYPE_INT64:
      return reflection.SetInt64(&message, &f, 7);
    case field::CPPTYPE_DOUBLE:
      return reflection.SetDouble(&message, &f, 42.5);
    case field::CPPTYPE_ENUM:
      return reflection.SetEnumValue(&message, &f, 1);
    default:
      return;
    }
  }

  /// Only fixed numbers have their bytes in the message.
  std::uint64_t fixed(const google::protobuf::FieldDescriptor& f, bool secret) {
    return number(secret && f.type() == google::protobuf::FieldDescriptor::TYPE_FIXED64);
  }

  /// Keys differ.
  void fill_entry(google::protobuf::Message& entry, bool secret, int depth) {
    const auto& key = *entry.GetDescriptor()->map_key();
    const auto& value = *entry.GetDescriptor()->map_value();
    const auto& reflection = *entry.GetReflection();
    if (key.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING)
      reflection.SetString(&entry, &key,
                           secret || *rc::gen::arbitrary<bool>() ? email() : "k" + std::to_string(next_++));
    else
      reflection.SetInt32(&entry, &key, next_++);
    set(entry, reflection, value, secret, depth);
  }

  int next_ = 1;
  std::vector<std::string> secrets_;
};

/// The first secret that stands in `bytes`; empty: none does.
inline std::string found_in(std::string_view bytes, const std::vector<std::string>& secrets) {
  for (const auto& secret : secrets)
    if (bytes.find(secret) != std::string_view::npos)
      return secret;
  return {};
}

/// A type's files in a pool of their own, as one who has only a journal knows it.
class foreign_type {
public:
  explicit foreign_type(const google::protobuf::Descriptor& type) {
    add(*type.file());
    prototype_ = factory_.GetPrototype(pool_.FindMessageTypeByName(type.full_name()));
  }
  std::unique_ptr<google::protobuf::Message> make() const {
    return std::unique_ptr<google::protobuf::Message>{prototype_->New()};
  }

private:
  void add(const google::protobuf::FileDescriptor& file) {
    if (pool_.FindFileByName(file.name()) != nullptr)
      return;
    for (int i = 0; i < file.dependency_count(); ++i)
      add(*file.dependency(i));
    google::protobuf::FileDescriptorProto content;
    file.CopyTo(&content);
    pool_.BuildFile(content);
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Message* prototype_ = nullptr;
};

} // namespace eventcore::test
