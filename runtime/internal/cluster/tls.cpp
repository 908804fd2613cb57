#include <eventcore/runtime/internal/cluster/tls.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/internal/sockets.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <map>
#include <mutex>
#include <tuple>

namespace eventcore::internal {

namespace {

using caf::io::network::rw_state;
using context_ptr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

std::string openssl_says() {
  std::string text;
  for (unsigned long code; (code = ERR_get_error()) != 0;)
    if (const auto* reason = ERR_reason_error_string(code)) {
      if (!text.empty())
        text += ", ";
      text += reason;
    }
  return text.empty() ? "it cannot be read" : text;
}

error wrong(const char* what, const std::filesystem::path& file) {
  return make_error(cluster_errc::invalid_options, std::string{"the TLS "} + what + " in " + file.string() +
                                                       " cannot be used: " + openssl_says());
}

result<context_ptr> make_context(const tls_options& options) {
  ERR_clear_error();
  context_ptr context{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return make_error(cluster_errc::invalid_options, "OpenSSL cannot be used: " + openssl_says());
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate.c_str()) != 1)
    return wrong("certificate", options.certificate);
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    return wrong("key", options.key);
  if (SSL_CTX_load_verify_locations(context.get(), options.ca.c_str(), nullptr) != 1)
    return wrong("CA", options.ca);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // A session that is resumed would not be checked anew.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

/// The same as a moment ago for connections that come together, so that a crowd of strangers does not make the node read files.
result<std::shared_ptr<SSL_CTX>> recent_context(const tls_options& options) {
  struct entry {
    std::shared_ptr<SSL_CTX> context;
    std::chrono::steady_clock::time_point made;
  };
  static std::mutex mutex;
  static std::map<std::tuple<std::filesystem::path, std::filesystem::path, std::filesystem::path>, entry> all;
  std::lock_guard lock{mutex};
  const auto now = std::chrono::steady_clock::now();
  auto& known = all[{options.certificate, options.key, options.ca}];
  if (!known.context || now - known.made > std::chrono::seconds{1}) {
    auto made = make_context(options);
    if (!made)
      return made.error();
    known = {std::shared_ptr<SSL_CTX>{std::move(*made)}, now};
  }
  return known.context;
}

} // namespace

void block_broken_pipes() {
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
}

result<void> check_tls(const tls_options& options) {
  if (auto made = make_context(options); !made)
    return made.error();
  return {};
}

result<std::shared_ptr<tls_session>> tls_session::make(const tls_options& options, int socket,
                                                       bool accepted) {
  auto context = recent_context(options);
  if (!context)
    return context.error();
  std::shared_ptr<tls_session> session{new tls_session{SSL_new(context->get())}};
  if (!session->ssl_ || SSL_set_fd(session->ssl_.get(), socket) != 1)
    return make_error(cluster_errc::invalid_options, "OpenSSL cannot be used: " + openssl_says());
  if (accepted)
    SSL_set_accept_state(session->ssl_.get());
  else
    SSL_set_connect_state(session->ssl_.get());
  return session;
}

result<void> tls_session::connect(std::chrono::milliseconds within) {
  const auto until = std::chrono::steady_clock::now() + within;
  const auto failed = [](const std::string& why) {
    return make_error(entity_errc::unreachable, "TLS was not agreed on: " + why);
  };
  for (;;) {
    ERR_clear_error();
    const auto returned = SSL_connect(ssl_.get());
    if (returned == 1)
      return {};
    std::size_t none = 0;
    if (outcome(returned, none) == rw_state::failure)
      return failed(failure_.empty() ? "the connection was closed" : failure_);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd wanted{SSL_get_fd(ssl_.get()), static_cast<short>(SSL_want_write(ssl_.get()) ? POLLOUT : POLLIN),
                  0};
    if (left.count() <= 0 || ::poll(&wanted, 1, static_cast<int>(left.count())) == 0)
      return failed("the other side did not speak in time");
  }
}

std::optional<std::chrono::system_clock::time_point> tls_session::trusted_until() const {
  std::optional<std::chrono::system_clock::time_point> first;
  const auto* chain = SSL_get0_verified_chain(ssl_.get());
  for (int i = 0; chain != nullptr && i != sk_X509_num(chain); ++i) {
    std::tm end{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(chain, i)), &end) != 1)
      continue; // one that cannot be read would not have been taken
    const auto at = std::chrono::system_clock::from_time_t(::timegm(&end));
    first = first ? std::min(*first, at) : at;
  }
  return first;
}

rw_state tls_session::outcome(int returned, std::size_t& result) {
  result = returned > 0 ? static_cast<std::size_t>(returned) : 0;
  if (returned > 0)
    return rw_state::success;
  switch (SSL_get_error(ssl_.get(), returned)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    return rw_state::success;
  case SSL_ERROR_SSL: {
    const auto verified = SSL_get_verify_result(ssl_.get());
    failure_ = openssl_says();
    if (verified != X509_V_OK)
      failure_ = std::string{"its certificate is refused: "} + X509_verify_cert_error_string(verified);
    return rw_state::failure;
  }
  default:
    return rw_state::failure;
  }
}

rw_state tls_session::read_some(std::size_t& result, int, void* to, std::size_t size) {
  ERR_clear_error();
  return outcome(SSL_read(ssl_.get(), to, static_cast<int>(size)), result);
}

rw_state tls_session::write_some(std::size_t& result, int, const void* from, std::size_t size) {
  if (size == 0) {
    result = 0;
    return rw_state::indeterminate;
  }
  ERR_clear_error();
  const auto bounded = std::min<std::size_t>(size, std::size_t{1} << 20);
  return outcome(SSL_write(ssl_.get(), from, static_cast<int>(bounded)), result);
}

bool tls_session::must_read_more(int, std::size_t threshold) const {
  return static_cast<std::size_t>(SSL_pending(ssl_.get())) >= threshold;
}

// -- tls_scribe

tls_scribe::tls_scribe(caf::io::network::default_multiplexer& multiplexer, int socket,
                       std::shared_ptr<tls_session> session)
    : scribe{caf::io::network::conn_hdl_from_socket(socket)}
    , session_{session}
    , stream_{multiplexer, socket, policy{std::move(session)}} {}

void tls_scribe::configure_read(caf::io::receive_policy::config config) {
  stream_.configure_read(config);
  if (!std::exchange(launched_, true))
    stream_.start(this);
}

void tls_scribe::graceful_shutdown() {
  stream_.graceful_shutdown();
  detach(&stream_.backend(), false);
}

std::string tls_scribe::addr() const {
  const auto address = caf::io::network::remote_addr_of_fd(stream_.fd());
  return address ? *address : std::string{};
}

std::uint16_t tls_scribe::port() const {
  const auto port = caf::io::network::remote_port_of_fd(stream_.fd());
  return port ? *port : 0;
}

// -- tls_doorman

bool tls_doorman::new_connection() {
  if (detached())
    return false;
  auto& multiplexer = acceptor_.backend();
  socket_handle socket{acceptor_.accepted_socket()};
  caf::io::network::nonblocking(socket.get(), true);
  auto session = tls_session::make(options_, socket.get(), true);
  if (!session) {
    spdlog::error("cluster: a connection cannot be taken: {}", session.error().message());
    return true;
  }
  const auto fd = socket.release(); // the scribe owns it
  auto added = caf::make_counted<tls_scribe>(multiplexer, fd, *std::move(session));
  const auto handle = added->hdl();
  parent()->add_scribe(std::move(added));
  return doorman::new_connection(&multiplexer, handle);
}

} // namespace eventcore::internal
