#include <eventcore/runtime/internal/registration.hpp>

#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/runtime/registry_errc.hpp>

#include <nlohmann/json.hpp>

namespace eventcore::internal {

namespace {

using nlohmann::json;

constexpr std::size_t max_name_bytes = 128;

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > max_name_bytes)
    return false;
  while (!text.empty()) {
    const auto c = first_utf8_char(text);
    if (c.size == 0 || c.is_control())
      return false;
    text.remove_prefix(c.size);
  }
  return true;
}

error invalid(std::string_view id, const std::string& why) {
  return make_error(registry_errc::invalid_registration,
                    "the registration " + internal::quoted(id) + ' ' + why);
}

std::string find_bad_text(const service_info& instance) {
  if (!is_utf8(instance.version))
    return "version";
  if (!is_utf8(instance.health_check))
    return "health_check";
  for (const auto& type : instance.capabilities)
    if (!is_utf8(type))
      return "capabilities";
  for (const auto& [key, value] : instance.endpoints)
    if (!is_utf8(key) || !is_utf8(value))
      return "endpoints";
  for (const auto& [key, value] : instance.metadata)
    if (!is_utf8(key) || !is_utf8(value))
      return "metadata";
  return {};
}

} // namespace

result<void> check_registration(const service_info& instance) {
  const auto& id = instance.id;
  for (const auto& [field, text] : {std::pair{"type", &instance.type}, {"name", &instance.name}})
    if (!is_name(*text))
      return invalid(id, std::string{text->empty() ? "has no " : "has a wrong "} + field +
                             ": write 1 to 128 bytes of UTF-8 without control characters");
  if (instance.type.find('@') != std::string::npos)
    return invalid(id, "has a wrong type: it must not contain @");
  if (id != instance.type + '@' + instance.name)
    return invalid(id, "has a wrong id: it must be " +
                           internal::quoted(instance.type + '@' + instance.name, 512));
  if (auto field = find_bad_text(instance); !field.empty())
    return invalid(id, "has a wrong " + field + ": its texts must be UTF-8");
  for (const auto& [kind, address] : instance.endpoints)
    if (kind.empty() || address.empty())
      return invalid(id, "has a wrong endpoints: each needs a kind and an address");
  if (auto size = write_registration(instance).size(); size > max_registration_bytes)
    return invalid(id, "is too large: " + std::to_string(size) + " bytes as JSON, and at most " +
                           std::to_string(max_registration_bytes) + " are allowed; shorten its metadata");
  return {};
}

std::string_view type_of_id(std::string_view id) noexcept {
  const auto at = id.find('@');
  return at == id.npos || at + 1 == id.size() ? std::string_view{} : id.substr(0, at);
}

bool same_owner(const service_info& a, const service_info& b) {
  const auto journal_of = [](const service_info& instance) {
    auto found = instance.metadata.find("journal");
    return found == instance.metadata.end() ? std::string_view{} : std::string_view{found->second};
  };
  return journal_of(a) == journal_of(b);
}

error id_is_taken(const service_info& instance, const service_info& living) {
  auto message =
      "another service, of another journal, lives under the id " + internal::quoted(instance.id, 512);
  if (auto at = living.endpoints.find("cluster"); at != living.endpoints.end())
    message += " at " + internal::quoted(at->second);
  return make_error(registry_errc::id_taken,
                    message + "; give one of the two nodes another name, or end the other one");
}

std::string write_registration(const service_info& instance) {
  const json form{{"id", instance.id},
                  {"name", instance.name},
                  {"type", instance.type},
                  {"version", instance.version},
                  {"endpoints", instance.endpoints},
                  {"health_check", instance.health_check},
                  {"capabilities", instance.capabilities},
                  {"metadata", instance.metadata},
                  {"registered_at", instance.registered_at.time_since_epoch().count()}};
  return form.dump(-1, ' ', true, json::error_handler_t::replace);
}

result<service_info> read_registration(std::string_view text) {
  const auto form = json::parse(text, nullptr, false);
  if (!form.is_object())
    return make_error(registry_errc::invalid_registration,
                      "a registration is no JSON object: " + internal::quoted(text));
  service_info instance;
  std::string field = "id";
  try {
    if (auto id = form.find("id"); id != form.end())
      id->get_to(instance.id);
    for (const auto& [key, value] : form.items()) {
      field = key;
      if (key == "name")
        value.get_to(instance.name);
      else if (key == "type")
        value.get_to(instance.type);
      else if (key == "version")
        value.get_to(instance.version);
      else if (key == "endpoints")
        value.get_to(instance.endpoints);
      else if (key == "health_check")
        value.get_to(instance.health_check);
      else if (key == "capabilities")
        value.get_to(instance.capabilities);
      else if (key == "metadata")
        value.get_to(instance.metadata);
      else if (key == "registered_at")
        instance.registered_at = timestamp{timestamp::duration{value.get<std::int64_t>()}};
      else if (key != "id")
        return invalid(instance.id, "has a field that is not known: " + internal::quoted(key));
    }
  } catch (const json::exception& e) {
    return invalid(instance.id, "has a wrong " + internal::quoted(field) + ": " + e.what());
  }
  if (auto checked = check_registration(instance); !checked)
    return checked.error();
  return instance;
}

} // namespace eventcore::internal
