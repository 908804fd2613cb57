#pragma once

#include <eventcore/persistence/error.hpp>
#include <eventcore/runtime/cluster_options.hpp>

#include <caf/io/all.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/io/network/stream_impl.hpp>

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace eventcore::internal {

/// One side of a TLS connection (1.2 or later) on a non-blocking socket, which it does not own. Each side shows its certificate, and
/// takes only one that its CA vouches for.
///
/// `caf::openssl` does the same, but throws in the network's thread when a file cannot be read, and hides why a peer was refused. The
/// files are read anew for connections of another second, so that renewed certificates need no restart.
class tls_session {
public:
  /// Error: `invalid_options`, naming the file and what is wrong with it.
  static result<std::shared_ptr<tls_session>> make(const tls_options& options, int socket, bool accepted);

  /// Waits for the handshake, at most `within`. Error: `unreachable`, with what the other side or the checks say.
  result<void> connect(std::chrono::milliseconds within);

  /// When the first certificate of those that vouch for the other side expires, by the wall clock. Nothing before the handshake.
  std::optional<std::chrono::system_clock::time_point> trusted_until() const;

  // -- what CAF wants of a stream's policy
  caf::io::network::rw_state read_some(std::size_t& result, caf::io::network::native_socket, void* to,
                                       std::size_t size);
  caf::io::network::rw_state write_some(std::size_t& result, caf::io::network::native_socket,
                                        const void* from, std::size_t size);
  bool must_read_more(caf::io::network::native_socket, std::size_t threshold) const;

  /// Why it failed; empty: it did not, or the other side only closed the connection.
  const std::string& failure() const noexcept { return failure_; }

private:
  struct free_ssl {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };

  explicit tls_session(SSL* ssl)
      : ssl_{ssl} {}
  caf::io::network::rw_state outcome(int returned, std::size_t& result);

  std::unique_ptr<SSL, free_ssl> ssl_;
  std::string failure_;
};

/// OpenSSL writes to sockets whose other side may be gone: this thread is to get no signal for it.
void block_broken_pipes();

/// Error: `invalid_options`: the files make no usable side of a connection.
result<void> check_tls(const tls_options& options);

/// A connection of the broker that speaks TLS.
class tls_scribe final : public caf::io::scribe {
public:
  tls_scribe(caf::io::network::default_multiplexer& multiplexer, int socket,
             std::shared_ptr<tls_session> session);

  const std::shared_ptr<tls_session>& session() const noexcept { return session_; }

  void configure_read(caf::io::receive_policy::config config) override;
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void graceful_shutdown() override;
  void flush() override { stream_.flush(this); }
  std::string addr() const override;
  std::uint16_t port() const override;
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

private:
  struct policy {
    std::shared_ptr<tls_session> session;
    auto read_some(std::size_t& n, int fd, void* to, std::size_t size) {
      return session->read_some(n, fd, to, size);
    }
    auto write_some(std::size_t& n, int fd, const void* from, std::size_t size) {
      return session->write_some(n, fd, from, size);
    }
    bool must_read_more(int fd, std::size_t threshold) { return session->must_read_more(fd, threshold); }
  };

  std::shared_ptr<tls_session> session_;
  bool launched_ = false;
  caf::io::network::stream_impl<policy> stream_;
};

/// Takes connections that speak TLS.
class tls_doorman final : public caf::io::network::doorman_impl {
public:
  tls_doorman(caf::io::network::default_multiplexer& multiplexer, int socket, tls_options options)
      : doorman_impl{multiplexer, socket}
      , options_{std::move(options)} {}

  bool new_connection() override;

private:
  tls_options options_;
};

} // namespace eventcore::internal
