#include <eventcore/runtime/internal/federation/event_forms.hpp>

#include <eventcore/persistence/internal/descriptors.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace eventcore::internal {

namespace {

namespace pb = google::protobuf;

/// The name before the last dot, with the dot.
std::string scope_of(const std::string& name) {
  return name.substr(0, name.rfind('.') + 1);
}

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && letter(text[0]) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || digit(c); });
}

/// Renames one message in a set of files, and all that refers to it.
class renaming {
public:
  renaming(std::string from, std::string to)
      : from_{std::move(from)}
      , to_{std::move(to)} {}

  void apply(pb::FileDescriptorSet& files) const {
    for (auto& file : *files.mutable_file()) {
      const auto scope = file.package().empty() ? std::string{} : file.package() + ".";
      for (auto& message : *file.mutable_message_type())
        apply(message, scope);
      for (auto& extension : *file.mutable_extension())
        apply(extension);
      for (auto& service : *file.mutable_service())
        for (auto& method : *service.mutable_method()) {
          refer(*method.mutable_input_type());
          refer(*method.mutable_output_type());
        }
    }
  }

private:
  void apply(pb::DescriptorProto& message, const std::string& scope) const {
    const auto name = scope + message.name();
    for (auto& field : *message.mutable_field())
      apply(field);
    for (auto& extension : *message.mutable_extension())
      apply(extension);
    for (auto& nested : *message.mutable_nested_type())
      apply(nested, name + ".");
    if (name == from_)
      message.set_name(to_.substr(scope.size()));
  }

  void apply(pb::FieldDescriptorProto& field) const {
    if (field.has_type_name())
      refer(*field.mutable_type_name());
    if (field.has_extendee())
      refer(*field.mutable_extendee());
  }

  /// `reference` is a full name behind a dot.
  void refer(std::string& reference) const {
    const auto size = 1 + from_.size();
    if (reference.compare(1, from_.size(), from_) == 0 &&
        (reference.size() == size || reference[size] == '.'))
      reference.replace(1, from_.size(), to_);
  }

  std::string from_;
  std::string to_;
};

/// Keeps the first complaint.
class first_complaint final : public pb::DescriptorPool::ErrorCollector {
public:
  std::string text;

private:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (text.empty())
      text = file + ": " + element + ": " + message;
  }
};

/// A pool with these files. Nothing, and `why`: they are of no use.
std::unique_ptr<pb::DescriptorPool> build(const pb::FileDescriptorSet& files, std::string& why) {
  auto pool = std::make_unique<pb::DescriptorPool>();
  first_complaint wrong;
  for (const auto& file : files.file())
    if (pool->BuildFileCollectingErrors(file, &wrong) == nullptr) {
      why = wrong.text;
      return nullptr;
    }
  return pool;
}

} // namespace

result<event_form> describe_form(const pb::Descriptor& type, const std::string& name) {
  const auto& own = type.full_name();
  event_form form{name, describe_type(type)};
  if (name == own)
    return form;
  const auto refused = [&](const std::string& why) {
    return make_error(federation_errc::transformation_failed,
                      "an event of type " + own + " cannot become one of type " + name + ": " + why);
  };
  const auto scope = scope_of(own);
  if (scope_of(name) != scope || !is_identifier(std::string_view{name}.substr(scope.size())))
    return refused("only the last part of the name can be another one; replace the payload instead");
  pb::FileDescriptorSet files;
  files.ParseFromString(form.descriptors);
  if (const auto* taken = type.file()->pool()->FindMessageTypeByName(name)) {
    auto free = name + "_";
    while (taken->file()->pool()->FindMessageTypeByName(free) != nullptr)
      free += "_";
    renaming{name, free}.apply(files);
  }
  renaming{own, name}.apply(files);
  std::string why;
  const auto pool = build(files, why);
  if (pool == nullptr || pool->FindMessageTypeByName(name) == nullptr)
    return refused(why);
  form.descriptors = files.SerializeAsString();
  return form;
}

result<const pb::Descriptor*> type_of_form(const event_form& form) {
  static std::mutex mutex;
  static auto& pools = *new std::map<std::string, std::unique_ptr<pb::DescriptorPool>, std::less<>>;
  const auto refused = [&](const std::string& why) {
    return make_error(federation_errc::refused,
                      "the form of event type " + form.type + " is damaged: " + why);
  };
  std::lock_guard lock{mutex};
  auto known = pools.find(form.descriptors);
  if (known == pools.end()) {
    pb::FileDescriptorSet files;
    if (!files.ParseFromString(form.descriptors))
      return refused("it cannot be parsed");
    std::string why;
    auto pool = build(files, why);
    if (pool == nullptr)
      return refused(why);
    known = pools.emplace(form.descriptors, std::move(pool)).first;
  }
  const auto* type = known->second->FindMessageTypeByName(form.type);
  if (type == nullptr)
    return refused("it does not describe the type");
  return type;
}

} // namespace eventcore::internal
