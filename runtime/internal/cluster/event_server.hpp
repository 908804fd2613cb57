#pragma once

#include <eventcore/persistence/log_feed.hpp>
#include <eventcore/runtime/internal/cluster/cluster_env.hpp>
#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace eventcore::internal {

/// The broker to the actor: a frame of the connection that is about events, without its length.
struct event_frame {
  frame_kind kind;
  std::string content;
};

/// The actor to itself: this feed may have more.
struct feed_wakes {
  std::uint64_t feed;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::event_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::feed_wakes)

namespace eventcore {
class federation_target;
struct event_form;
} // namespace eventcore

namespace eventcore::internal {

/// Reads the journal for one connected node, and appends what it sends, as far as this node offers and accepts events. One actor a
/// connection, because both may wait for the disk, which the broker must not. It ends with the connection.
class event_server final : public caf::event_based_actor {
public:
  event_server(caf::actor_config& config, std::shared_ptr<cluster_env> env, std::shared_ptr<outbox> out);
  ~event_server() override;

  const char* name() const override { return "eventcore.event_server"; }

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  struct feed {
    std::unique_ptr<log_feed> log;
    log_chunk chunk{};
    std::size_t credit = 0;
    bool more = true;
  };

  void on_open(const std::string& content);
  void on_more(std::uint64_t number);
  void end_feed(std::uint64_t number, const error& why);
  void on_question(const std::string& content);
  void on_delivery(const std::string& content);

  std::shared_ptr<cluster_env> env_;
  std::shared_ptr<outbox> out_;
  std::map<std::uint64_t, feed> feeds_;
  std::unique_ptr<federation_target> target_;
  std::vector<std::shared_ptr<const event_form>> forms_;
};

} // namespace eventcore::internal
