#include <eventcore/runtime/internal/http/http_connection.hpp>

#include <eventcore/persistence/internal/utf8.hpp>

#include <httplib.h>

#include <netdb.h>
#include <poll.h>

#include <cerrno>
#include <mutex>
#include <regex>
#include <vector>

namespace eventcore::internal {

namespace {

using steady_clock = std::chrono::steady_clock;

constexpr std::size_t max_head = 64 << 10;
/// Of the status line and each header. A longer line is more than the library's regular expression has stack for.
constexpr std::size_t max_head_line = 8 << 10;

// -- limits

/// What one call may still take.
struct allowance {
  steady_clock::time_point deadline;
  std::size_t bytes = max_head; ///< that may still be received
  bool in_head = true;
  std::size_t line = 0; ///< bytes of the head's current line
  bool exceeded = false;

  /// At least 1 ms: the library takes 0 for no limit here and for no time there.
  std::chrono::milliseconds time_left() const {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    return std::max(left, std::chrono::milliseconds{1});
  }
  bool expired() const { return steady_clock::now() >= deadline; }
};

/// The library's own streams have limits for each operation and none for a whole call, grow without bound on lines without
/// end, and raise SIGPIPE.
class limited_stream final : public httplib::Stream {
public:
  limited_stream(socket_t socket, SSL* ssl, allowance& left)
      : socket_{socket}
      , ssl_{ssl}
      , left_{left} {
    if (ssl_)
      ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL) | O_NONBLOCK);
  }

  /// Whether more came than was read, which belongs to no answer.
  bool has_more() const noexcept { return begin_ != end_; }

  bool is_readable() const override { return has_more() || wait_for(POLLIN); }
  bool is_writable() const override { return wait_for(POLLOUT); }

  ssize_t read(char* to, std::size_t size) override {
    if (!has_more()) {
      auto n = receive();
      if (n <= 0)
        return n;
      begin_ = 0;
      end_ = static_cast<std::size_t>(n);
      left_.exceeded |= end_ > left_.bytes;
      left_.bytes -= std::min(end_, left_.bytes);
    }
    const auto n = std::min(size, end_ - begin_);
    for (std::size_t i = 0; left_.in_head && i != n; ++i) {
      left_.line = buffer_[begin_ + i] == '\n' ? 0 : left_.line + 1;
      left_.exceeded |= left_.line > max_head_line;
    }
    if (left_.exceeded)
      return -1;
    std::memcpy(to, buffer_.data() + begin_, n);
    begin_ += n;
    return static_cast<ssize_t>(n);
  }

  ssize_t write(const char* from, std::size_t size) override {
    if (ssl_)
      return tls(
          [&] { return SSL_write(ssl_, from, static_cast<int>(std::min<std::size_t>(size, 1 << 20))); });
    for (;;) {
      auto n = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0 || !again(POLLOUT))
        return n;
    }
  }

  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

private:
  ssize_t receive() {
    if (ssl_)
      return tls([&] { return SSL_read(ssl_, buffer_.data(), static_cast<int>(buffer_.size())); });
    for (;;) {
      auto n = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (n >= 0 || !again(POLLIN))
        return n;
    }
  }

  template <class Operation>
  ssize_t tls(Operation operation) {
    for (;;) {
      ERR_clear_error();
      auto n = operation();
      if (n > 0)
        return n;
      switch (SSL_get_error(ssl_, n)) {
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      case SSL_ERROR_WANT_READ:
        if (!wait_for(POLLIN))
          return -1;
        break;
      case SSL_ERROR_WANT_WRITE:
        if (!wait_for(POLLOUT))
          return -1;
        break;
      default:
        return -1;
      }
    }
  }

  bool again(short event) const {
    return errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(event));
  }

  /// A peer that has closed its side will take no more of a call: it may neither read nor say so for ever.
  bool wait_for(short event) const {
    pollfd wanted{socket_, static_cast<short>(event == POLLOUT ? POLLOUT | POLLRDHUP : event), 0};
    while (!left_.expired()) {
      auto n =
          ::poll(&wanted, 1, static_cast<int>(std::min<std::int64_t>(left_.time_left().count(), 60'000)));
      if (n > 0)
        return event != POLLOUT || (wanted.revents & POLLRDHUP) == 0;
      if (n < 0 && errno != EINTR)
        return false;
    }
    return false;
  }

  socket_t socket_;
  SSL* ssl_;
  allowance& left_;
  std::array<char, 16 << 10> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// The library's client, for http or https, on streams with limits.
template <class Base>
class limited_client final : public Base {
public:
  limited_client(const std::string& host, int port, allowance& left)
      : Base{host, port}
      , left_{left} {}

private:
  bool process_socket(const typename Base::Socket& socket,
                      std::function<bool(httplib::Stream&)> exchange) override {
    limited_stream stream{socket.sock, socket.ssl, left_};
    const auto done = exchange(stream);
    if (stream.has_more())
      this->stop(); // marks the connection to be closed when this call is done
    return done;
  }

  allowance& left_;
};

// -- text

std::string lower_case(std::string text) {
  for (auto& c : text)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool is_visible_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_token(std::string_view text) {
  return !text.empty() && is_visible_ascii(text) && text.find_first_of("\"(),/:;<=>?@[\\]{}") == text.npos;
}

bool is_header_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f; });
}

result<std::map<std::string, std::string>> checked_headers(const std::string& what, const auto& headers) {
  std::map<std::string, std::string> checked;
  for (const auto& [name, value] : headers) {
    if (!is_token(name) || !is_header_value(value))
      return make_error(http_errc::invalid_request,
                        what + ": " + internal::quoted(name) +
                            " is no header: a name has letters, digits and dashes, and " +
                            "a value has no line breaks");
    auto key = lower_case(name);
    for (auto own : {"host", "connection", "content-length", "transfer-encoding"})
      if (key == own)
        return make_error(http_errc::invalid_request,
                          what + ": leave the header " + internal::quoted(name) + " to the client");
    checked.emplace(std::move(key), value);
  }
  return checked;
}

/// UTF-8, or nothing.
std::string readable(std::string text) {
  return is_utf8(text) ? std::move(text) : std::string{};
}

/// The same for a text that may have been cut within a character.
std::string readable_start(std::string text) {
  for (std::size_t cut = 0; cut != 4 && cut <= text.size(); ++cut)
    if (is_utf8({text.data(), text.size() - cut}))
      return text.substr(0, text.size() - cut);
  return {};
}

// -- network

/// The host's addresses, in the order in which to try them.
result<std::vector<std::string>> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (auto why = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); why != 0)
    return make_error(http_errc::connection_failed,
                      "the host " + host + " does not resolve: " + ::gai_strerror(why));
  std::vector<std::string> addresses;
  for (auto* a = found; a; a = a->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(a->ai_addr, a->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0)
      addresses.emplace_back(text.data());
  }
  ::freeaddrinfo(found);
  return addresses;
}

error no_answer(const http_job& job, const httplib::Error why) {
  using enum httplib::Error;
  switch (why) {
  case Connection:
  case BindIPAddress:
    return make_error(http_errc::connection_failed, job.what + ": nobody takes connections there");
  case ConnectionTimeout:
    return make_error(http_errc::connection_failed, job.what + ": it could not be connected to in time");
  case SSLConnection:
    return make_error(http_errc::connection_failed, job.what + ": no TLS connection could be made");
  case SSLLoadingCerts:
    return make_error(http_errc::connection_failed,
                      job.what + ": the certificates to check it against cannot be read; look at ca_file");
  case SSLServerVerification:
    return make_error(http_errc::connection_failed,
                      job.what + ": its certificate is not vouched for, or is for another host");
  default:
    return make_error(http_errc::invalid_answer,
                      job.what +
                          ": the connection ended, or what came is no HTTP, before there was an answer");
  }
}

} // namespace

// -- http_target, http_job

result<http_target> http_target::of(http_target_options options) {
  static const std::regex form{
      R"((https?)://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?(/[\w.~%/-]*)?)"};
  std::smatch m;
  const auto port_of = [&] { return m[4].matched ? std::stoi(m[4]) : m[1] == "https" ? 443 : 80; };
  if (options.url.size() > 2'048 || !std::regex_match(options.url, m, form) || port_of() < 1 ||
      port_of() > 65'535)
    return make_error(http_errc::invalid_request,
                      internal::quoted(options.url) +
                          " is no URL of a target; write http://host:port or https://host:port");
  http_target target;
  target.tls = m[1] == "https";
  target.host = m[2].matched ? m[2] : m[3];
  target.port = static_cast<std::uint16_t>(port_of());
  target.prefix = m[5];
  while (target.prefix.ends_with('/'))
    target.prefix.pop_back();
  if (options.name.empty())
    options.name = options.url;
  if (options.connections == 0 || options.max_answer_bytes == 0 || options.call_limit.count() <= 0 ||
      options.connect_limit.count() <= 0)
    return make_error(http_errc::invalid_request,
                      options.name + ": the bounds of connections, answers and times must be more than zero");
  auto headers = checked_headers(options.name, options.headers);
  if (!headers)
    return headers.error();
  options.headers = *std::move(headers);
  target.options = std::move(options);
  return target;
}

result<http_job> http_job::of(const http_target& target, const HttpCall& call, std::string idempotency_key,
                              std::string traceparent) {
  http_job job;
  const auto name = HttpCall::Method_Name(call.method());
  job.method = name.substr(std::min(name.size(), std::strlen("METHOD_")));
  job.what = job.method + ' ' + internal::quoted(call.path()) + " to " + target.options.name;
  if (name.empty() || call.method() == HttpCall::METHOD_UNSPECIFIED)
    return make_error(http_errc::invalid_request, job.what + ": the call names no method that there is");
  if (!call.path().starts_with('/') || !is_visible_ascii(call.path()) ||
      call.path().find('#') != std::string::npos)
    return make_error(http_errc::invalid_request,
                      job.what + ": a path begins with a slash; percent-encode all but visible ASCII");
  auto headers = checked_headers(job.what, call.headers());
  if (!headers)
    return headers.error();
  job.headers = *std::move(headers);
  for (auto [name, value] : {std::pair{"idempotency-key", &idempotency_key}, {"traceparent", &traceparent}}) {
    if (!is_header_value(*value))
      return make_error(http_errc::invalid_request,
                        job.what + ": the " + name +
                            " of its context has control characters, which no header takes");
    if (!value->empty())
      job.headers[name] = std::move(*value);
  }
  for (const auto& header : target.options.headers)
    job.headers.insert(header);
  if (!call.body().empty())
    job.headers.emplace("content-type", "application/json");
  job.path = target.prefix + call.path();
  job.body = call.body();
  return job;
}

// -- http_connection

struct http_connection::impl {
  explicit impl(std::shared_ptr<const http_target> where)
      : target{std::move(where)} {
    const auto& options = target->options;
    if (target->tls)
      client = std::make_unique<limited_client<httplib::SSLClient>>(target->host, target->port, left);
    else
      client = std::make_unique<limited_client<httplib::ClientImpl>>(target->host, target->port, left);
    if (!options.ca_file.empty())
      client->set_ca_cert_path(options.ca_file);
    client->set_keep_alive(true);
    client->set_tcp_nodelay(true);
    client->set_url_encode(false);
    client->set_socket_options([this](socket_t opened) { on_open(opened); });
  }

  ~impl() {
    client.reset();
    if (socket >= 0)
      ::close(socket);
  }

  /// Keeps a handle of the socket of its own, which break_off() can use at any time.
  void on_open(socket_t opened) {
    std::lock_guard guard{mutex};
    if (socket >= 0)
      ::close(socket);
    socket = ::fcntl(opened, F_DUPFD_CLOEXEC, 0);
    if (broken_off)
      ::shutdown(opened, SHUT_RDWR);
  }

  bool is_broken_off() {
    std::lock_guard guard{mutex};
    return broken_off;
  }

  /// Makes the exchange, trying the addresses one after the other. `Success`, or what the library says.
  httplib::Error exchange(const std::vector<std::string>& addresses, const httplib::Request& request,
                          httplib::Response& response);

  std::shared_ptr<const http_target> target;
  allowance left;
  std::unique_ptr<httplib::ClientImpl> client;

  std::mutex mutex;
  int socket = -1;
  bool broken_off = false;
};

http_connection::http_connection(std::shared_ptr<const http_target> target)
    : impl_{std::make_unique<impl>(std::move(target))} {}

http_connection::~http_connection() = default;

void http_connection::begin() {
  std::lock_guard guard{impl_->mutex};
  impl_->broken_off = false;
}

void http_connection::break_off() {
  std::lock_guard guard{impl_->mutex};
  impl_->broken_off = true;
  if (impl_->socket >= 0)
    ::shutdown(impl_->socket, SHUT_RDWR);
}

httplib::Error http_connection::impl::exchange(const std::vector<std::string>& addresses,
                                               const httplib::Request& request, httplib::Response& response) {
  auto error = httplib::Error::ConnectionTimeout;
  for (const auto& address : addresses) {
    if (left.expired() || is_broken_off())
      return error;
    if (!address.empty())
      client->set_hostname_addr_map({{target->host, address}});
    client->set_connection_timeout(std::min(target->options.connect_limit, left.time_left()));
    client->set_read_timeout(left.time_left());
    client->set_write_timeout(left.time_left());
    auto copy = request;
    if (client->send(copy, response, error))
      return httplib::Error::Success;
    if (error != httplib::Error::Connection && error != httplib::Error::ConnectionTimeout)
      return error;
  }
  return error;
}

result<HttpAnswer> http_connection::call(const http_job& job) {
  auto& my = *impl_;
  const auto& options = my.target->options;
  my.left = {.deadline = job.deadline};

  std::vector<std::string> addresses{""}; // of the connection that there is
  if (!my.client->is_socket_open()) {
    auto resolved = resolve(my.target->host);
    if (!resolved)
      return make_error(http_errc::connection_failed, job.what + ": " + resolved.error().message());
    addresses = *std::move(resolved);
  }

  // What came so far; the library drops it when the rest does not come.
  HttpAnswer answer;
  auto& body = *answer.mutable_body();
  std::size_t bound = 0;
  bool cut = false;
  const auto is_success = [&] { return answer.status() >= 200 && answer.status() < 300; };
  const auto on_head = [&](const httplib::Response& head) {
    answer.set_status(head.status);
    for (const auto& [name, value] : head.headers)
      if (is_utf8(name) && is_utf8(value)) {
        auto [header, is_new] = answer.mutable_headers()->insert({lower_case(name), value});
        if (!is_new)
          header->second += ", " + value;
      }
    bound = is_success() ? options.max_answer_bytes : options.max_error_bytes;
    my.left.in_head = false;
    my.left.bytes = bound * 8 + max_head; // chunks of one byte take six
    return true;
  };
  httplib::Request request;
  request.method = job.method;
  request.path = job.path;
  request.body = job.body;
  request.headers.insert(job.headers.begin(), job.headers.end());
  request.response_handler = on_head;
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    cut = size > bound - body.size();
    body.append(data, std::min(size, bound - body.size()));
    return !cut;
  };

  httplib::Response response;
  const auto error = my.exchange(addresses, request, response);
  const auto whole = error == httplib::Error::Success;
  if (whole && my.left.in_head)
    on_head(response); // the library does not ask if there can be no body
  const auto too_large = [&](const char* what) {
    return make_error(http_errc::invalid_answer, job.what + ": " + what + " of the answer is too large");
  };
  if (my.left.in_head) {
    if (my.left.exceeded)
      return too_large("the head");
    if (my.left.expired())
      return make_error(http_errc::timeout, job.what + ": no answer came in time");
    return no_answer(job, error);
  }
  if (job.method == "DELETE" && answer.status() == 404) {
    body = whole ? readable(std::move(body)) : "";
    return answer;
  }
  if (is_success()) {
    if (cut || my.left.exceeded)
      return too_large("the body");
    if (!whole)
      return my.left.expired()
                 ? make_error(http_errc::timeout, job.what + ": the answer was not complete in time")
                 : make_error(http_errc::invalid_answer, job.what + ": the answer's body broke off");
    body = readable(std::move(body));
    return answer;
  }
  const auto status = std::to_string(answer.status());
  auto said = whole || cut ? readable_start(std::move(body)) : "";
  auto message = job.what + " was answered " + status;
  if (auto to = answer.headers().find("location"); to != answer.headers().end() && status.starts_with('3'))
    message += " and redirected to " + internal::quoted(to->second, 256) +
               ", which is not followed; correct the target's URL";
  else if (!said.empty())
    message += ": " + internal::quoted(said, 256);
  return make_error(http_errc::request_failed, std::move(message)).with_reason(status, std::move(said));
}

} // namespace eventcore::internal
