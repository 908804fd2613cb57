#include <eventcore/runtime/internal/cluster/peer_link.hpp>

#include <eventcore/runtime/internal/cluster/remote_service.hpp>

namespace eventcore::internal {

namespace {

constexpr int generation_shift = 32;
/// Message ids of CAF have 60 bits.
constexpr std::uint32_t generations = std::uint32_t{1} << 27;

} // namespace

peer_link::sent peer_link::send(call_ptr& call, time_point now) {
  auto outcome = sent::closed;
  const bool awaited = call->to.is_request();
  out_->write([&](byte_buffer& buffer) {
    if (closed_)
      return false;
    outcome = sent::too_large;
    if (call->body.size() > limits_.message)
      return false;
    outcome = sent::full;
    if (in_flight_ >= limits_.in_flight || buffer.size() >= limits_.waiting_bytes ||
        kept_bytes_ >= limits_.waiting_bytes)
      return false;
    outcome = sent::yes;
    std::uint64_t id = 0;
    if (awaited) {
      if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(slots_.size()));
        slots_.emplace_back();
      }
      id = std::uint64_t{slots_[free_.back()].generation} << generation_shift | free_.back();
    }
    frame_writer frame{buffer, frame_kind::command};
    frame.number(id);
    const auto [known, is_new] = routes_.try_emplace({call->service.get(), call->type}, routes_.size() + 1);
    frame.number(is_new ? 0 : known->second);
    if (is_new) {
      frame.text(call->service->name());
      frame.text(call->type->full_name());
    }
    const auto left = std::chrono::ceil<std::chrono::microseconds>(call->deadline - now).count();
    frame.number(static_cast<std::uint64_t>(std::max<std::int64_t>(left, 1)));
    frame.raw({call->body.data(), call->body.size()});
    call->sent_to = journal_;
    if (!awaited)
      return false;
    earliest_ = std::min(earliest_, call->deadline);
    ++in_flight_;
    kept_bytes_ += call->body.size();
    slots_[free_.back()].call = std::move(call);
    free_.pop_back();
    return in_flight_ == 1; // no other call will join it
  });
  return outcome;
}

call_ptr peer_link::free(std::size_t place) {
  auto& s = slots_[place];
  auto call = std::move(s.call);
  s.generation = s.generation % generations + 1;
  free_.push_back(static_cast<std::uint32_t>(place));
  --in_flight_;
  kept_bytes_ -= call->body.size();
  return call;
}

call_ptr peer_link::take(std::uint64_t id) {
  call_ptr call;
  const auto place = id & 0xffffffff;
  out_->write([&](byte_buffer&) {
    if (place < slots_.size() && slots_[place].call && slots_[place].generation == id >> generation_shift)
      call = free(place);
  });
  return call;
}

std::vector<call_ptr> peer_link::take_expired(time_point now) {
  std::vector<call_ptr> expired;
  out_->write([&](byte_buffer&) {
    if (now < earliest_)
      return;
    earliest_ = time_point::max();
    for (std::size_t place = 0; place != slots_.size(); ++place)
      if (const auto& call = slots_[place].call; call && call->deadline <= now)
        expired.push_back(free(place));
      else if (call)
        earliest_ = std::min(earliest_, call->deadline);
  });
  return expired;
}

std::vector<call_ptr> peer_link::close() {
  std::vector<call_ptr> rest;
  out_->write([&](byte_buffer&) {
    closed_ = true;
    for (std::size_t place = 0; place != slots_.size(); ++place)
      if (slots_[place].call)
        rest.push_back(free(place));
  });
  out_->close();
  return rest;
}

std::size_t peer_link::in_flight() const {
  std::size_t count = 0;
  out_->write([&](byte_buffer&) { count = in_flight_; });
  return count;
}

} // namespace eventcore::internal
