#include <eventcore/runtime/internal/cluster/remote_target.hpp>

#include <eventcore/runtime/internal/cluster/cluster.pb.h>

namespace eventcore::internal {

namespace {

/// Forms that are numbered in one connection; then they are numbered anew.
constexpr std::size_t max_forms = 10'000;

void set(FederationSource& to, const federation_source& from) {
  to.set_service(from.service);
  to.set_incarnation(from.incarnation.bytes.data(), from.incarnation.bytes.size());
}

} // namespace

error remote_target::unavailable() const {
  return make_error(federation_errc::unavailable,
                    out_ ? "service " + name_ + " does not accept events; its node must call accept_events()"
                         : "service " + name_ + " is not reached: " + why_);
}

void remote_target::ask_position(const federation_source& source,
                                 std::function<void(result<log_position>)> done) {
  std::unique_lock lock{mutex_};
  if (!out_ || !accepts_) {
    const auto why = unavailable();
    lock.unlock();
    return done(why);
  }
  PositionQuestion question;
  question.set_request(++last_request_);
  set(*question.mutable_source(), source);
  questions_.emplace(last_request_, std::move(done));
  out_->write([&](byte_buffer& buffer) {
    frame_writer{buffer, frame_kind::position_question}.raw(question.SerializeAsString());
  });
}

void remote_target::deliver(federation_batch batch, std::function<void(federation_answer)> done) {
  std::unique_lock lock{mutex_};
  if (!out_ || !accepts_) {
    federation_answer answer{0, unavailable()};
    lock.unlock();
    return done(std::move(answer));
  }
  if (forms_.size() >= max_forms)
    forms_.clear();
  Delivery d;
  d.set_forget_forms(forms_.empty());
  set(*d.mutable_source(), batch.source);
  d.set_after(batch.after);
  d.set_up_to(batch.up_to);
  d.set_late(batch.late);
  std::size_t sent = 0;
  std::size_t bytes = 0;
  for (auto& e : batch.events) {
    const auto [known, is_new] = forms_.try_emplace(e.form, static_cast<std::uint32_t>(forms_.size()));
    if (is_new) {
      auto& form = *d.add_new_forms();
      form.set_type(e.form->type);
      form.set_descriptors(e.form->descriptors);
      bytes += e.form->descriptors.size();
    }
    bytes += e.event.ByteSizeLong() + 16;
    if (bytes > max_message_ && sent > 0)
      break;
    d.add_forms(known->second);
    *d.add_events() = std::move(e.event);
    ++sent;
  }
  if (bytes > max_message_ && sent == 1) {
    federation_answer answer{batch.late ? 0 : batch.after,
                             make_error(federation_errc::refused,
                                        "an event with what describes it has more bytes than "
                                        "cluster_options::max_message allows")};
    forms_.clear();
    lock.unlock();
    return done(std::move(answer));
  }
  if (sent < batch.events.size()) {
    d.set_up_to(d.events().rbegin()->position());
    done = [done = std::move(done)](federation_answer answer) {
      if (!answer.why)
        answer.why = make_error(federation_errc::unavailable,
                                "only a part of the events fit into one message; the rest comes next");
      done(std::move(answer));
    };
  }
  d.set_request(++last_request_);
  deliveries_.emplace(last_request_, std::move(done));
  out_->write([&](byte_buffer& buffer) {
    frame_writer{buffer, frame_kind::delivery}.raw(d.SerializeAsString());
  });
}

void remote_target::connected(std::shared_ptr<outbox> to, bool accepts) {
  std::unique_lock lock{mutex_};
  // A node that moved can be there before its former connection is lost, over which no answer comes any more.
  if (out_ && out_ != to) {
    give_up("it has moved", lock);
    lock.lock();
  }
  accepts_ = accepts;
  if (out_ == to)
    return;
  out_ = std::move(to);
  forms_.clear();
}

void remote_target::lost(const outbox& to, const std::string& why) {
  std::unique_lock lock{mutex_};
  if (out_.get() == &to)
    give_up(why, lock);
}

void remote_target::give_up(const std::string& why, std::unique_lock<std::mutex>& lock) {
  out_.reset();
  why_ = why;
  const auto questions = std::exchange(questions_, {});
  const auto deliveries = std::exchange(deliveries_, {});
  const auto reason = unavailable();
  lock.unlock();
  for (const auto& [request, done] : questions)
    done(reason);
  for (const auto& [request, done] : deliveries)
    done({0, reason});
}

void remote_target::on_position(wire_reader content) {
  const auto request = content.number();
  const auto position = content.number();
  const bool failed = content.byte() != 0;
  std::unique_lock lock{mutex_};
  auto question = questions_.extract(request);
  lock.unlock();
  if (question.empty())
    return;
  if (failed)
    question.mapped()(read_error(content));
  else
    question.mapped()(position);
}

void remote_target::on_delivered(wire_reader content) {
  const auto request = content.number();
  federation_answer answer;
  answer.reached = content.number();
  if (content.byte() != 0)
    answer.why = read_error(content);
  std::unique_lock lock{mutex_};
  auto delivery = deliveries_.extract(request);
  lock.unlock();
  if (!delivery.empty())
    delivery.mapped()(std::move(answer));
}

} // namespace eventcore::internal
