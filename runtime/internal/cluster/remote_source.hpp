#pragma once

#include <eventcore/persistence/event_source.hpp>
#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace eventcore::internal {

/// Of a frame `feed_page`: what follows the kind.
struct feed_page {
  std::uint64_t feed = 0;
  log_position last = 0; ///< all up to here was looked at
  log_position head = 0;
  std::vector<recorded_event> events{};
};

void write_feed_page(wire_writer& to, std::uint64_t feed, log_position last, log_position head,
                     std::span<const recorded_event* const> events);
/// Nothing: it is malformed.
std::optional<feed_page> read_feed_page(wire_reader& from);

/// The events of a service of another node. A feed has a window of pages on their way; each page that its reader takes makes room
/// for another one. When the connection is made anew, it goes on behind the last page that came.
class remote_source final : public event_source, public std::enable_shared_from_this<remote_source> {
public:
  explicit remote_source(std::string name)
      : name_{std::move(name)} {}

  const std::string& name() const noexcept override { return name_; }
  result<history> current_history() override;
  result<log_position> head() override;
  std::unique_ptr<event_feed> open(log_position from, log_filter filter,
                                   std::function<void()> on_more) override;

  // -- for the broker
  /// `offers`: it does so.
  void connected(std::shared_ptr<outbox> to, const history& its, log_position head, bool offers);
  void lost(const outbox& to, const std::string& why);
  void on_head(const outbox& from, log_position head);
  /// False: it is one more than the reader has given credit for, and was dropped.
  bool on_page(const outbox& from, feed_page page);
  void on_end(const outbox& from, std::uint64_t feed, error why);

private:
  struct state;
  class feed;

  void send_open(state& s);
  error not_reached() const;

  const std::string name_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<state>> feeds_;
  std::uint64_t last_feed_ = 0;
  std::shared_ptr<outbox> out_; ///< null: not connected
  std::optional<history> history_;
  log_position head_ = 0;
  bool offers_ = true;
  std::string why_ = "no node that runs it was found yet";
};

} // namespace eventcore::internal
