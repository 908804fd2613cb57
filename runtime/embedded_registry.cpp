#include <eventcore/runtime/embedded_registry.hpp>

#include <eventcore/runtime/internal/registration.hpp>

namespace eventcore {

embedded_registry::embedded_registry(clock::duration time_to_live, std::function<clock::time_point()> now)
    : time_to_live_{time_to_live}
    , now_{now ? std::move(now) : clock::now} {}

result<void> embedded_registry::enter(const service_info& instance) {
  if (auto checked = internal::check_registration(instance); !checked)
    return checked;
  std::lock_guard lock{mutex_};
  const auto now = now_();
  std::erase_if(entries_, [&](const auto& e) { return e.second.expires <= now; });
  auto& [living, expires] = entries_[instance.id];
  if (!living.id.empty() && !internal::same_owner(instance, living))
    return internal::id_is_taken(instance, living);
  living = instance;
  expires = now + time_to_live_;
  return {};
}

result<void> embedded_registry::withdraw(std::string_view id) {
  std::lock_guard lock{mutex_};
  if (auto found = entries_.find(id); found != entries_.end())
    entries_.erase(found);
  return {};
}

result<std::vector<service_info>> embedded_registry::discover(std::string_view type) {
  std::vector<service_info> found;
  std::lock_guard lock{mutex_};
  for (const auto now = now_(); const auto& [id, e] : entries_)
    if (e.instance.type == type && e.expires > now)
      found.push_back(e.instance);
  return found;
}

result<std::optional<service_info>> embedded_registry::find(std::string_view id) {
  std::lock_guard lock{mutex_};
  auto found = entries_.find(id);
  if (found == entries_.end() || found->second.expires <= now_())
    return std::optional<service_info>{};
  return std::optional{found->second.instance};
}

} // namespace eventcore
