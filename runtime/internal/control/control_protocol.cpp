#include <eventcore/runtime/internal/control/control_protocol.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.control"; }

  std::string message(int code) const override {
    switch (static_cast<control_errc>(code)) {
    case control_errc::nobody_listens:
      return "no node listens";
    case control_errc::refused:
      return "the node refused";
    case control_errc::not_understood:
      return "what listens is no node that is understood";
    case control_errc::silent:
      return "the node says nothing";
    case control_errc::no_answer:
      return "the node did not answer";
    case control_errc::cannot_listen:
      return "the control socket cannot be made";
    }
    return "unknown control error " + std::to_string(code);
  }
};

} // namespace

const std::error_category& control_category() noexcept {
  static const category instance;
  return instance;
}

result<control_address> control_address::in(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return make_error(control_errc::cannot_listen,
                      "folder " + folder.string() + " cannot be opened: " + std::strerror(errno));
  return control_address{fd, (folder / control_socket).string()};
}

control_address::control_address(int folder, std::string path)
    : folder_{folder}
    , path_{std::move(path)} {
  auto usable = path_;
  if (usable.size() >= sizeof(name_.sun_path)) // the same file by a short name
    usable = "/proc/self/fd/" + std::to_string(folder_) + '/' + std::string{control_socket};
  name_.sun_family = AF_UNIX;
  usable.copy(name_.sun_path, sizeof(name_.sun_path) - 1);
}

control_address::control_address(control_address&& other) noexcept
    : folder_{std::exchange(other.folder_, -1)}
    , path_{std::move(other.path_)}
    , name_{other.name_} {}

control_address::~control_address() {
  if (folder_ >= 0)
    ::close(folder_);
}

std::string to_control_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

} // namespace eventcore::internal
