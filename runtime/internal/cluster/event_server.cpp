#include <eventcore/runtime/internal/cluster/event_server.hpp>

#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/internal/cluster/handshake.hpp>
#include <eventcore/runtime/internal/cluster/remote_source.hpp>
#include <eventcore/runtime/journal_target.hpp>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::size_t max_feeds = 256;
constexpr std::size_t max_credit = 16;
constexpr std::size_t page_events = 512;
constexpr std::size_t page_bytes = std::size_t{256} << 10;

federation_source source_of(const FederationSource& from) {
  return {from.service(), uuid_of(from.incarnation())};
}

} // namespace

event_server::event_server(caf::actor_config& config, std::shared_ptr<cluster_env> env,
                           std::shared_ptr<outbox> out)
    : caf::event_based_actor{config}
    , env_{std::move(env)}
    , out_{std::move(out)}
    , target_{make_journal_target(env_->journal)} {}

event_server::~event_server() = default;

caf::behavior event_server::make_behavior() {
  set_default_handler(caf::drop);
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_exit_handler([](caf::scheduled_actor* self, caf::exit_msg& exit) { self->quit(exit.reason); });
  return {
      [this](const event_frame& frame) {
        wire_reader content{frame.content};
        switch (frame.kind) {
        case frame_kind::feed_open:
          return on_open(frame.content);
        case frame_kind::feed_credit: {
          const auto number = content.number();
          if (const auto f = feeds_.find(number); f != feeds_.end()) {
            f->second.credit = std::min(f->second.credit + 1, max_credit);
            on_more(number);
          }
          return;
        }
        case frame_kind::feed_close:
          feeds_.erase(content.number());
          return;
        case frame_kind::position_question:
          return on_question(frame.content);
        case frame_kind::delivery:
          return on_delivery(frame.content);
        default:
          return;
        }
      },
      [this](feed_wakes m) {
        if (const auto f = feeds_.find(m.feed); f != feeds_.end()) {
          f->second.more = true;
          on_more(m.feed);
        }
      },
  };
}

void event_server::on_exit() {
  feeds_.clear();
  target_.reset();
}

void event_server::end_feed(std::uint64_t number, const error& why) {
  feeds_.erase(number);
  out_->write([&](byte_buffer& buffer) {
    frame_writer frame{buffer, frame_kind::feed_end};
    frame.number(number);
    write_error(frame, why);
  });
}

void event_server::on_open(const std::string& content) {
  FeedOpen open;
  if (!open.ParseFromString(content))
    return;
  if (!env_->offers_events)
    return end_feed(open.feed(), make_error(cluster_errc::not_offered,
                                            "service " + env_->self.service + " does not offer its events"));
  if (feeds_.size() >= max_feeds)
    return end_feed(open.feed(), make_error(entity_errc::overloaded, "too many feeds of one node are open"));
  if (uuid_of(open.journal()) != env_->self.journal || uuid_of(open.incarnation()) != env_->self.incarnation)
    return end_feed(open.feed(), make_error(journal_errc::wrong_journal,
                                            "the journal of service " + env_->self.service +
                                                " has another history than the one that the feed is of"));
  feed f;
  f.credit = std::min<std::size_t>(open.credit(), max_credit);
  log_filter filter{{open.categories().begin(), open.categories().end()},
                    {open.types().begin(), open.types().end()}};
  f.log = std::make_unique<log_feed>(env_->journal, open.from(), std::move(filter),
                                     [self = caf::weak_actor_ptr{ctrl()}, number = open.feed()] {
                                       if (const auto alive = caf::actor_cast<caf::actor>(self))
                                         caf::anon_send(alive, feed_wakes{number});
                                     });
  feeds_.insert_or_assign(open.feed(), std::move(f));
  on_more(open.feed());
}

/// Sends one page, and comes back for the next one, so that others get their turn.
void event_server::on_more(std::uint64_t number) {
  auto& f = feeds_.at(number);
  if (!f.more || f.credit == 0)
    return;
  const auto more = f.log->read(f.chunk, {page_events, std::min(page_bytes, env_->options.max_message)});
  if (!more)
    return end_feed(number, more.error());
  f.more = *more;
  if (f.chunk.last() >= f.chunk.first() && f.chunk.last() > 0) {
    if (f.chunk.bytes() > env_->options.max_message)
      return end_feed(number, make_error(journal_errc::too_large,
                                         "the event at position " + std::to_string(f.chunk.last()) +
                                             " is larger than cluster_options::max_message allows"));
    --f.credit;
    out_->write([&](byte_buffer& buffer) {
      frame_writer frame{buffer, frame_kind::feed_page};
      write_feed_page(frame, number, f.chunk.last(), f.log->head(), f.chunk.events());
    });
    f.chunk.clear();
  }
  if (f.more && f.credit > 0)
    send(this, feed_wakes{number});
}

void event_server::on_question(const std::string& content) {
  PositionQuestion question;
  if (!question.ParseFromString(content))
    return;
  const auto answer = [out = out_, request = question.request()](const result<log_position>& position) {
    out->write([&](byte_buffer& buffer) {
      frame_writer frame{buffer, frame_kind::position_answer};
      frame.number(request);
      frame.number(position ? *position : 0);
      frame.byte(position ? 0 : 1);
      if (!position)
        write_error(frame, position.error());
    });
  };
  if (!env_->accepts_events)
    return answer(make_error(federation_errc::unavailable, "the service does not accept events"));
  target_->ask_position(source_of(question.source()), answer);
}

void event_server::on_delivery(const std::string& content) {
  Delivery d;
  if (!d.ParseFromString(content))
    return;
  const auto answer = [out = out_, request = d.request()](const federation_answer& a) {
    out->write([&](byte_buffer& buffer) {
      frame_writer frame{buffer, frame_kind::delivery_answer};
      frame.number(request);
      frame.number(a.reached);
      frame.byte(a.why ? 1 : 0);
      if (a.why)
        write_error(frame, *a.why);
    });
  };
  if (d.forget_forms())
    forms_.clear();
  for (auto& form : *d.mutable_new_forms())
    forms_.push_back(std::make_shared<event_form>(
        event_form{std::move(*form.mutable_type()), std::move(*form.mutable_descriptors())}));
  if (!env_->accepts_events)
    return answer({0, make_error(federation_errc::unavailable, "the service does not accept events")});
  federation_batch batch{source_of(d.source()), d.after(), d.up_to(), {}, d.late()};
  for (int i = 0; i != d.events_size(); ++i) {
    if (i >= d.forms_size() || d.forms(i) >= forms_.size())
      return answer({0, make_error(federation_errc::unavailable, "a delivery is malformed")});
    batch.events.push_back({std::move(*d.mutable_events(i)), forms_[d.forms(i)]});
  }
  target_->deliver(std::move(batch), answer);
}

} // namespace eventcore::internal
