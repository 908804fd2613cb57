#include <eventcore/runtime/internal/cluster/local_services.hpp>

#include <eventcore/persistence/schema.hpp>

#include <algorithm>
#include <mutex>

namespace eventcore::internal {

namespace {

using google::protobuf::Message;

const Message* find_prototype(const std::type_info& type) {
  auto name = name_of(type);
  for (std::size_t at = 0; (at = name.find("::", at)) != std::string::npos;) {
    name.erase(at, 1);
    name[at] = '.';
  }
  // A message inside of another one is the class Outer_Inner.
  for (auto dash = name.size();; name[dash] = '.') {
    if (const auto* found = prototype_named(name); found && typeid(*found) == type)
      return found;
    dash = name.rfind('_', dash);
    if (dash == std::string::npos)
      return nullptr;
  }
}

} // namespace

const Message* prototype_of(const std::type_info& type) {
  static std::shared_mutex mutex;
  static std::unordered_map<std::type_index, const Message*> known;
  // Most threads ask for one type again and again.
  static thread_local std::pair<const std::type_info*, const Message*> last;
  if (last.first == &type)
    return last.second;
  {
    std::shared_lock lock{mutex};
    if (const auto found = known.find(type); found != known.end()) {
      last = {&type, found->second};
      return found->second;
    }
  }
  const auto* prototype = find_prototype(type);
  std::unique_lock lock{mutex};
  known.emplace(type, prototype);
  return prototype;
}

const Message* prototype_named(const std::string& type) {
  const auto* descriptor = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(type);
  return descriptor ? google::protobuf::MessageFactory::generated_factory()->GetPrototype(descriptor)
                    : nullptr;
}

void local_services::add_command(const Message& prototype, bool with_id, const caf::actor& to) {
  commands_[{prototype.GetTypeName(), with_id}] = {to, &prototype};
}

void local_services::add(const entity_type& type, const caf::actor& host) {
  std::unique_lock lock{mutex_};
  ++generation_;
  for (const auto& c : type.commands)
    add_command(*c.prototype, true, host);
}

void local_services::add(const multi_stream_type& type, const caf::actor& commands) {
  std::unique_lock lock{mutex_};
  ++generation_;
  for (const auto& c : type.commands)
    add_command(*c.prototype, false, commands);
}

bool local_services::add(const std::string& name, const caf::actor& actor) {
  std::unique_lock lock{mutex_};
  ++generation_;
  return name != service_ && actors_.emplace(name, actor).second;
}

void local_services::clear() {
  std::unique_lock lock{mutex_};
  ++generation_;
  commands_.clear();
  actors_.clear();
}

bool local_services::offers(std::string_view service) const {
  std::shared_lock lock{mutex_};
  return service == service_ || actors_.contains(service);
}

std::vector<std::string> local_services::names() const {
  std::shared_lock lock{mutex_};
  std::vector<std::string> all{service_};
  for (const auto& [name, actor] : actors_)
    all.push_back(name);
  return all;
}

std::map<std::string, std::uint32_t> local_services::commands() const {
  std::shared_lock lock{mutex_};
  std::map<std::string, std::uint32_t> all;
  for (const auto& [key, target] : commands_)
    all.emplace(key.first, schema_version_of(*target.prototype->GetDescriptor()));
  return all;
}

local_services::target local_services::find(std::string_view service, const std::string& type,
                                            bool with_id) const {
  std::shared_lock lock{mutex_};
  if (service == service_) {
    const auto found = commands_.find(std::pair{type, with_id});
    return found == commands_.end() ? target{} : found->second;
  }
  const auto found = actors_.find(service);
  if (found == actors_.end())
    return {};
  return {found->second, prototype_named(type)};
}

} // namespace eventcore::internal
