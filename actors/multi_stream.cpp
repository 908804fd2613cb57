#include <eventcore/actors/multi_stream.hpp>

#include <cxxabi.h>

#include <cstdlib>

namespace eventcore::internal {

stream_id stream_of(std::string_view category, std::string_view id) {
  auto stream = stream_id::of(category, id);
  if (!stream)
    throw invalid_command_streams{make_error(entity_errc::invalid_id, stream.error().message())};
  return *std::move(stream);
}

std::optional<error> check_declared(const std::vector<declared_stream>& streams, std::size_t max_streams) {
  auto invalid = [](std::string why) { return make_error(entity_errc::invalid_command, std::move(why)); };
  if (streams.empty())
    return invalid("the command declares no stream");
  if (streams.size() > max_streams)
    return invalid("the command names " + std::to_string(streams.size()) + " streams of " +
                   std::to_string(max_streams) + " allowed; split it, or raise max_streams");
  std::vector<const std::string*> names;
  for (auto& s : streams)
    names.push_back(&s.stream.str());
  auto text = [](const std::string* s) -> const std::string& { return *s; };
  std::ranges::sort(names, {}, text);
  if (auto twice = std::ranges::adjacent_find(names, {}, text); twice != names.end())
    return invalid("the command names stream " + **twice + " twice");
  return std::nullopt;
}

void throw_not_declared(const stream_id& stream) {
  throw invalid_command_streams{make_error(entity_errc::invalid_command,
                                           "the command uses stream " + stream.str() +
                                               ", which its declare() did not name, or with another fold")};
}

std::string name_of(const std::type_info& type) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> text{abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                              std::free};
  return text ? text.get() : type.name();
}

} // namespace eventcore::internal
