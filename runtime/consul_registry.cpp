#include <eventcore/runtime/consul_registry.hpp>

#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/runtime/internal/http/http_connection.hpp>
#include <eventcore/runtime/internal/registration.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <csignal>
#include <mutex>
#include <set>

namespace eventcore {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;

/// Of a metadata value. Keys have letters, digits, `-` and `_`, and there are 64 at most.
constexpr std::size_t max_value_bytes = 512;
static_assert(internal::max_registration_bytes <= max_value_bytes * 64);

/// TLS raises SIGPIPE when the other side is gone, which would end the process. Keeps it from this thread meanwhile.
class sigpipe_block {
public:
  sigpipe_block() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &only_, &before_);
  }
  sigpipe_block(const sigpipe_block&) = delete;
  sigpipe_block& operator=(const sigpipe_block&) = delete;
  ~sigpipe_block() {
    const timespec at_once{};
    if (!was_pending_)
      while (sigtimedwait(&only_, nullptr, &at_once) == -1 && errno == EINTR) {
      }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

private:
  sigset_t only_;
  sigset_t before_;
  bool was_pending_;
};

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
        c == '.' || c == '~')
      encoded += c;
    else
      (encoded += '%').append({digits[byte >> 4], digits[byte & 15]});
  }
  return encoded;
}

// -- a registration in Consul's form

std::string key_of_part(std::size_t part) {
  return "eventcore-" + std::to_string(part);
}

/// For people and DNS: where nodes connect to.
void add_address(json& service, const service_info& instance) {
  const auto found = instance.endpoints.find("cluster");
  if (found == instance.endpoints.end())
    return;
  std::string_view address = found->second;
  const auto colon = address.rfind(':');
  if (colon == address.npos || address.find_first_not_of("0123456789", colon + 1) != address.npos ||
      address.size() - colon < 2 || address.size() - colon > 6)
    return;
  auto host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  service["Address"] = host;
  service["Port"] = std::stoi(std::string{address.substr(colon + 1)});
}

std::string write_service(const service_info& instance, std::chrono::milliseconds time_to_live) {
  const auto text = internal::write_registration(instance);
  json meta;
  for (std::size_t at = 0; at < text.size(); at += max_value_bytes)
    meta[key_of_part(at / max_value_bytes)] = text.substr(at, max_value_bytes);
  json service{{"ID", instance.id},
               {"Name", instance.type},
               {"Meta", std::move(meta)},
               {"Check",
                {{"TTL", std::to_string(time_to_live.count()) + "ms"},
                 {"Status", "passing"},
                 {"DeregisterCriticalServiceAfter", "1m"}}}};
  add_address(service, instance);
  return service.dump();
}

/// One of Consul's list.
struct listed {
  std::string id;
  result<service_info> instance;
};

/// Passes over what eventcore has not registered. Throws `json::exception` if Consul does not speak like this.
void read_service(const json& entry, std::string_view type, std::vector<listed>& to) {
  const auto& service = entry.at("Service");
  auto id = service.at("ID").get<std::string>();
  const auto meta = service.find("Meta");
  if (meta == service.end() || !meta->is_object() || !meta->contains(key_of_part(0)))
    return;
  std::string text;
  for (std::size_t part = 0; meta->contains(key_of_part(part)); ++part)
    text += meta->at(key_of_part(part)).get_ref<const std::string&>();
  auto instance = internal::read_registration(text);
  if (!instance || (instance->id == id && instance->type == type)) {
    to.push_back({std::move(id), std::move(instance)});
    return;
  }
  auto mismatch = make_error(registry_errc::invalid_registration,
                             "the registration " + internal::quoted(id, 512) + " says of itself that it is " +
                                 internal::quoted(instance->id, 512));
  to.push_back({std::move(id), std::move(mismatch)});
}

// -- the registry

class consul_registry final : public service_registry {
public:
  consul_registry(internal::http_target target, std::chrono::milliseconds time_to_live)
      : target_{std::make_shared<const internal::http_target>(std::move(target))}
      , time_to_live_{time_to_live} {}

  result<void> enter(const service_info& instance) override {
    if (auto checked = internal::check_registration(instance); !checked)
      return checked;
    const auto what = "registering " + internal::quoted(instance.id, 512);
    auto living = find(instance.id, what);
    // What cannot be understood is replaced.
    if (!living && living.error().code() != registry_errc::invalid_registration)
      return living.error();
    if (living && *living && !internal::same_owner(instance, **living))
      return internal::id_is_taken(instance, **living);
    const auto renew = [&] { return put(what, "agent/check/pass/service:" + percent_encoded(instance.id)); };
    // Consul may have forgotten it since, or this agent may not be where it was registered: then it is registered anew.
    if (living && *living == instance && renew())
      return {};
    if (auto registered = put(what, "agent/service/register?replace-existing-checks=true",
                              write_service(instance, time_to_live_));
        !registered)
      return registered;
    return renew(); // one that had expired is expired still
  }

  result<void> withdraw(std::string_view id) override {
    auto done =
        put("withdrawing " + internal::quoted(id, 512), "agent/service/deregister/" + percent_encoded(id));
    // The status is 404 or 500, after Consul's version.
    if (!done && done.error().details().starts_with("Unknown service"))
      return {};
    return done;
  }

  result<std::vector<service_info>> discover(std::string_view type) override {
    if (type.empty())
      return std::vector<service_info>{};
    auto all = list(type, "looking for " + internal::quoted(type, 512));
    if (!all)
      return all.error();
    std::map<std::string, service_info> found;
    for (auto& [id, instance] : *all) {
      if (!instance) {
        warn(id, instance.error());
        continue;
      }
      auto& place = found[id];
      if (place.id.empty() || place.registered_at < instance->registered_at)
        place = *std::move(instance);
    }
    std::vector<service_info> instances;
    for (auto& [id, instance] : found)
      instances.push_back(std::move(instance));
    return instances;
  }

  result<std::optional<service_info>> find(std::string_view id) override {
    return find(id, "looking for " + internal::quoted(id, 512));
  }

private:
  result<std::optional<service_info>> find(std::string_view id, const std::string& what) {
    const auto type = internal::type_of_id(id);
    std::optional<service_info> newest;
    if (type.empty())
      return newest;
    auto all = list(type, what);
    if (!all)
      return all.error();
    for (auto& [listed_id, instance] : *all) {
      if (listed_id != id)
        continue;
      if (!instance)
        return instance.error();
      if (!newest || newest->registered_at < instance->registered_at)
        newest = *std::move(instance);
    }
    return newest;
  }

  result<std::vector<listed>> list(std::string_view type, const std::string& what) {
    auto answer = ask("GET", what, "health/service/" + percent_encoded(type) + "?passing=true");
    if (!answer)
      return answer.error();
    std::vector<listed> all;
    try {
      const auto entries = json::parse(*answer).get<json::array_t>();
      for (const auto& entry : entries)
        read_service(entry, type, all);
    } catch (const json::exception&) {
      return make_error(registry_errc::invalid_answer,
                        what + with_consul() + ": its answer is no list of services, but " +
                            internal::quoted(*answer, 256) + "; is this the address of a Consul agent?");
    }
    return all;
  }

  result<void> put(const std::string& what, std::string path, std::string body = {}) {
    auto answer = ask("PUT", what, std::move(path), std::move(body));
    return answer ? result<void>{} : answer.error();
  }

  /// Asks on a connection of its own: one that was kept may have been closed meanwhile, and these questions are rare.
  result<std::string> ask(std::string method, const std::string& what, std::string path,
                          std::string body = {}) const {
    internal::http_job job{.method = std::move(method),
                           .what = what + with_consul(),
                           .path = target_->prefix + "/v1/" + std::move(path),
                           .body = std::move(body),
                           .headers = target_->options.headers,
                           .deadline = std::chrono::steady_clock::now() + target_->options.call_limit};
    const sigpipe_block block;
    internal::http_connection connection{target_};
    auto answer = connection.call(job);
    if (answer)
      return std::move(*answer->mutable_body());
    return to_registry_error(answer.error());
  }

  static error to_registry_error(const error& e) {
    auto code = registry_errc::unavailable;
    std::string advice;
    if (e.code() == http_errc::invalid_answer)
      code = registry_errc::invalid_answer;
    if (is_refusal(e)) {
      code = registry_errc::refused;
      if (e.reason() == "401" || e.reason() == "403")
        advice = "; check the token and what it may do";
    }
    return make_error(code, e.message() + advice).with_reason(e.reason(), e.details());
  }

  std::string with_consul() const { return " with Consul at " + target_->options.url; }

  /// Once for each, as services are looked for again and again.
  void warn(const std::string& id, const error& why) {
    std::lock_guard lock{mutex_};
    if (warned_.size() >= 1'000)
      warned_.clear();
    if (warned_.insert(id + why.message()).second)
      spdlog::warn("a service registered in Consul is left out: {}", why.message());
  }

  const std::shared_ptr<const internal::http_target> target_;
  const std::chrono::milliseconds time_to_live_;
  std::mutex mutex_;
  std::set<std::string> warned_;
};

} // namespace

result<std::unique_ptr<service_registry>> open_consul_registry(consul_options options) {
  if (options.time_to_live < 100ms)
    return make_error(registry_errc::refused,
                      "the time to live of registrations in Consul must be at least 100 ms");
  http_target_options target{.name = "Consul",
                             .url = options.url,
                             .ca_file = options.ca_file,
                             .call_limit = options.call_limit,
                             .connect_limit = options.connect_limit,
                             .max_answer_bytes = options.max_answer_bytes};
  if (!options.token.empty())
    target.headers["X-Consul-Token"] = options.token;
  auto checked = internal::http_target::of(std::move(target));
  if (!checked)
    return make_error(registry_errc::refused, checked.error().message());
  return std::unique_ptr<service_registry>{
      std::make_unique<consul_registry>(*std::move(checked), options.time_to_live)};
}

} // namespace eventcore
