#include <eventcore/runtime/cli/schema_diff.hpp>

#include <eventcore/persistence/schema.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

namespace eventcore::cli {

namespace {

namespace pb = google::protobuf;

/// All that `after` describes: its types, and the other messages of their files.
class new_types {
public:
  explicit new_types(const contract& after) {
    for (const auto& [name, forms] : after)
      by_name_.emplace(name, forms.back());
    std::set<const pb::FileDescriptor*> seen;
    for (const auto& [name, forms] : after)
      add_file(*forms.back()->file(), seen);
    for (const auto& [name, type] : by_name_)
      for (auto& former : former_names_of(*type))
        by_former_name_.emplace(std::move(former), type);
  }

  /// The type that `name` has become; null if there is none.
  const pb::Descriptor* find(const std::string& name) const {
    for (const auto* types : {&by_name_, &by_former_name_})
      if (const auto found = types->find(name); found != types->end())
        return found->second;
    return nullptr;
  }

private:
  using type_map = std::map<std::string, const pb::Descriptor*>;

  void add_file(const pb::FileDescriptor& file, std::set<const pb::FileDescriptor*>& seen) {
    std::vector<const pb::FileDescriptor*> open{&file};
    while (!open.empty()) {
      const auto* next = open.back();
      open.pop_back();
      if (!seen.insert(next).second)
        continue;
      for (int i = 0; i < next->message_type_count(); ++i)
        add_message(*next->message_type(i));
      for (int i = 0; i < next->dependency_count(); ++i)
        open.push_back(next->dependency(i));
    }
  }

  void add_message(const pb::Descriptor& type) {
    by_name_.emplace(type.full_name(), &type);
    for (int i = 0; i < type.nested_type_count(); ++i)
      add_message(*type.nested_type(i));
  }

  type_map by_name_;
  type_map by_former_name_;
};

/// Whether `to` is `from` under its name or a new one.
bool same_message(const pb::Descriptor& from, const pb::Descriptor& to) {
  if (from.full_name() == to.full_name() || (from.options().map_entry() && to.options().map_entry()))
    return true;
  const auto former = former_names_of(to);
  if (std::ranges::find(former, from.full_name()) != former.end())
    return true;
  return from.name() == to.name() && from.containing_type() && to.containing_type() &&
         same_message(*from.containing_type(), *to.containing_type());
}

bool same_enum(const pb::EnumDescriptor& from, const pb::EnumDescriptor& to) {
  return from.full_name() == to.full_name() ||
         (from.name() == to.name() && from.containing_type() && to.containing_type() &&
          same_message(*from.containing_type(), *to.containing_type()));
}

bool holds_all_values(const pb::EnumDescriptor& from, const pb::EnumDescriptor& to) {
  for (int i = 0; i < from.value_count(); ++i) {
    const auto* value = to.FindValueByName(from.value(i)->name());
    if (value == nullptr || value->number() != from.value(i)->number())
      return false;
  }
  return true;
}

/// Whether each stored value of the one field is the same value of the other one, as far as the outermost type
/// says.
bool reads_alike(const pb::FieldDescriptor& from, const pb::FieldDescriptor& to) {
  using field = pb::FieldDescriptor;
  static const std::set<std::pair<field::Type, field::Type>> wider{{field::TYPE_INT32, field::TYPE_INT64},
                                                                   {field::TYPE_UINT32, field::TYPE_UINT64},
                                                                   {field::TYPE_SINT32, field::TYPE_SINT64},
                                                                   {field::TYPE_STRING, field::TYPE_BYTES}};
  if (from.type() != to.type())
    return wider.contains({from.type(), to.type()});
  if (from.message_type() != nullptr)
    return from.is_map() == to.is_map() && same_message(*from.message_type(), *to.message_type());
  if (from.enum_type() != nullptr)
    return same_enum(*from.enum_type(), *to.enum_type()) ||
           holds_all_values(*from.enum_type(), *to.enum_type());
  return true;
}

bool is_google(const std::string& name) {
  return name.starts_with("google.");
}

std::string subject_of(const pb::FieldDescriptor& field) {
  return field.full_name() + " (field " + std::to_string(field.number()) + ")";
}

std::string subject_of(const pb::EnumValueDescriptor& value) {
  return value.type()->full_name() + "." + value.name() + " (value " + std::to_string(value.number()) + ")";
}

std::string reserve(int number) {
  return "reserve number " + std::to_string(number) + " so that nobody uses it again";
}

const char* cardinality_of(const pb::FieldDescriptor& field) {
  return field.is_repeated() ? "repeated" : "singular";
}

/// Compares one form of one type with the type that it became, and everything that these use. The constructor
/// does it all.
class comparison {
public:
  comparison(const pb::Descriptor& from, const pb::Descriptor& to, const contract& before,
             std::vector<schema_finding>& findings)
      : root_{from}
      , before_{before}
      , findings_{findings} {
    const auto old_version = schema_version_of(from);
    const auto new_version = schema_version_of(to);
    if (from.full_name() != to.full_name())
      add(verdict::compatible, from, from.full_name(), "renamed to " + to.full_name());
    if (new_version < old_version)
      add(verdict::incompatible, from, from.full_name(),
          "schema version lowered from " + std::to_string(old_version) + " to " +
              std::to_string(new_version));
    if (new_version > old_version)
      upcast_from_ = old_version;
    visit(&from, &to);
    for (; !open_.empty(); open_.pop_front())
      compare_messages(*open_.front().first, *open_.front().second);
  }

private:
  void visit(const pb::Descriptor* from, const pb::Descriptor* to) {
    if (!is_google(from->full_name()) && seen_messages_.emplace(from, to).second)
      open_.emplace_back(from, to);
  }

  /// `owner` is the message that changed, or one that uses what changed.
  void add(verdict what, const pb::Descriptor& owner, std::string subject, std::string reason) {
    if (&owner != &root_) {
      // What does no harm is said once, where the type itself is compared.
      if (what == verdict::compatible && before_.contains(owner.full_name()))
        return;
      subject += " in " + root_.full_name();
    }
    if (what == verdict::incompatible && upcast_from_ != 0)
      what = verdict::needs_upcaster;
    findings_.push_back(
        {what, what == verdict::needs_upcaster ? upcast_from_ : 0, std::move(subject), std::move(reason)});
  }

  void compare_messages(const pb::Descriptor& from, const pb::Descriptor& to) {
    for (int i = 0; i < from.field_count(); ++i) {
      const auto& old_field = *from.field(i);
      if (const auto* new_field = to.FindFieldByNumber(old_field.number()))
        compare_fields(old_field, *new_field);
      else
        say_removed(old_field, to);
    }
    for (int i = 0; i < to.field_count(); ++i)
      if (from.FindFieldByNumber(to.field(i)->number()) == nullptr)
        say_added(*to.field(i), from);
  }

  void say_removed(const pb::FieldDescriptor& field, const pb::Descriptor& to) {
    const auto say = [&](verdict what, std::string reason) {
      add(what, *field.containing_type(), subject_of(field), std::move(reason));
    };
    if (to.IsReservedNumber(field.number()))
      say(verdict::compatible, "removed; its number is reserved");
    else if (const auto* moved = to.FindFieldByName(field.name()))
      say(verdict::incompatible, "renumbered from " + std::to_string(field.number()) + " to " +
                                     std::to_string(moved->number()) +
                                     ": what is stored is not found any more");
    else
      say(verdict::incompatible, "removed; " + reserve(field.number()));
  }

  void say_added(const pb::FieldDescriptor& field, const pb::Descriptor& from) {
    const auto say = [&](verdict what, std::string reason) {
      add(what, from,
          from.full_name() + "." + field.name() + " (field " + std::to_string(field.number()) + ")",
          std::move(reason));
    };
    if (from.IsReservedNumber(field.number()))
      say(verdict::incompatible, "added with a number that was reserved; take a new one");
    else if (field.is_required())
      say(verdict::incompatible, "required field added, which stored events lack");
    else
      say(verdict::compatible, "field added");
  }

  void compare_fields(const pb::FieldDescriptor& from, const pb::FieldDescriptor& to) {
    const auto say = [&](verdict what, std::string reason) {
      add(what, *from.containing_type(), subject_of(from), std::move(reason));
    };
    const bool renamed = from.name() != to.name() && !from.containing_type()->options().map_entry();
    const auto old_type = type_text(from);
    const auto new_type = type_text(to);
    const bool misread = !reads_alike(from, to);

    if (misread) {
      say(verdict::incompatible, renamed ? "number reused: was " + old_type + " " + from.name() + ", is " +
                                               new_type + " " + to.name()
                                         : "type changed from " + old_type + " to " + new_type);
    } else if (renamed) {
      if (const auto* moved = to.containing_type()->FindFieldByName(from.name()))
        say(verdict::incompatible, "number now belongs to " + to.name() + ", and " + from.name() +
                                       " has number " + std::to_string(moved->number()));
      else
        say(verdict::compatible, "renamed to " + to.name());
    }
    if (!misread && old_type != new_type && !from.is_map())
      say(verdict::compatible, "type changed from " + old_type + " to " + new_type);

    if (from.is_repeated() != to.is_repeated())
      say(verdict::incompatible,
          std::string{"changed from "} + cardinality_of(from) + " to " + cardinality_of(to));
    if (!from.is_required() && to.is_required())
      say(verdict::incompatible, "made required, which stored events may lack");
    if (from.is_required() && !to.is_required())
      say(verdict::compatible, "no longer required");
    compare_oneofs(from, to);

    if (!misread && from.message_type() != nullptr)
      visit(from.message_type(), to.message_type());
    if (!misread && from.enum_type() != nullptr && same_enum(*from.enum_type(), *to.enum_type()))
      compare_enums(*from.containing_type(), *from.enum_type(), *to.enum_type());
  }

  /// A oneof may be renamed, and a field may go alone into a new one. What must not change is which fields
  /// exclude each other, or stored values are lost.
  void compare_oneofs(const pb::FieldDescriptor& from, const pb::FieldDescriptor& to) {
    const auto* old_oneof = from.real_containing_oneof();
    const auto* new_oneof = to.real_containing_oneof();
    if (old_oneof != nullptr && new_oneof != nullptr && old_oneof->name() == new_oneof->name())
      return;
    const auto say = [&](const std::string& reason) {
      add(verdict::incompatible, *from.containing_type(), subject_of(from), reason);
    };
    if (old_oneof != nullptr && new_oneof == nullptr)
      return say("moved out of oneof " + old_oneof->name());
    // Whether `oneof` has a field besides this one that `other` has, too, but not in `counterpart`.
    const auto has_strangers = [&](const pb::OneofDescriptor* oneof, const pb::Descriptor& other,
                                   const pb::OneofDescriptor* counterpart) {
      for (int i = 0; oneof != nullptr && i < oneof->field_count(); ++i) {
        const int number = oneof->field(i)->number();
        const auto* twin = number == from.number() ? nullptr : other.FindFieldByNumber(number);
        if (twin != nullptr && (counterpart == nullptr || twin->real_containing_oneof() != counterpart))
          return true;
      }
      return false;
    };
    if (has_strangers(new_oneof, *from.containing_type(), old_oneof) ||
        has_strangers(old_oneof, *to.containing_type(), new_oneof))
      say("moved into oneof " + new_oneof->name());
  }

  /// `user` is the message in which the enum is used.
  void compare_enums(const pb::Descriptor& user, const pb::EnumDescriptor& from,
                     const pb::EnumDescriptor& to) {
    if (is_google(from.full_name()) || !seen_enums_.emplace(&from, &to).second)
      return;
    for (int i = 0; i < from.value_count(); ++i) {
      const auto& value = *from.value(i);
      const auto say = [&](verdict what, std::string reason) {
        add(what, user, subject_of(value), std::move(reason));
      };
      const auto* namesake = to.FindValueByName(value.name());
      const auto* heir = to.FindValueByNumber(value.number());
      if (namesake != nullptr && namesake->number() != value.number())
        say(verdict::incompatible, "renumbered from " + std::to_string(value.number()) + " to " +
                                       std::to_string(namesake->number()));
      else if (namesake == nullptr && heir != nullptr)
        say(verdict::compatible, "renamed to " + heir->name());
      else if (namesake == nullptr && to.IsReservedNumber(value.number()))
        say(verdict::compatible, "removed; its number is reserved");
      else if (namesake == nullptr)
        say(verdict::incompatible, "removed; " + reserve(value.number()));
    }
    for (int i = 0; i < to.value_count(); ++i) {
      const auto& value = *to.value(i);
      if (from.IsReservedNumber(value.number()))
        add(verdict::incompatible, user, subject_of(value),
            "added with a number that was reserved; take a new one");
      else if (from.FindValueByNumber(value.number()) == nullptr)
        add(verdict::compatible, user, subject_of(value), "value added");
    }
  }

  const pb::Descriptor& root_;
  const contract& before_;
  std::vector<schema_finding>& findings_;
  std::uint32_t upcast_from_ = 0; ///< 0: the schema version was not raised
  std::set<std::pair<const pb::Descriptor*, const pb::Descriptor*>> seen_messages_;
  std::set<std::pair<const pb::EnumDescriptor*, const pb::EnumDescriptor*>> seen_enums_;
  std::deque<std::pair<const pb::Descriptor*, const pb::Descriptor*>> open_;
};

} // namespace

std::string to_text(const schema_finding& finding) {
  std::string text;
  switch (finding.what) {
  case verdict::compatible:
    text = "compatible: ";
    break;
  case verdict::needs_upcaster:
    text = "needs upcaster from version " + std::to_string(finding.from_version) + ": ";
    break;
  case verdict::incompatible:
    text = "incompatible: ";
    break;
  }
  return text + finding.subject + ": " + finding.reason;
}

std::vector<schema_finding> compare(const contract& before, const contract& after) {
  const new_types types{after};
  std::vector<schema_finding> all;
  std::set<schema_finding> seen;
  for (const auto& [name, forms] : before) {
    std::vector<schema_finding> findings;
    const auto* became = types.find(name);
    if (became == nullptr)
      findings.push_back(
          {verdict::incompatible, 0, name, "type removed, and no other names it in (eventcore.formerly)"});
    else
      for (const auto* form : forms)
        comparison{*form, *became, before, findings};
    for (auto& finding : findings)
      if (seen.insert(finding).second)
        all.push_back(std::move(finding));
  }
  return all;
}

} // namespace eventcore::cli
