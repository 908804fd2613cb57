#include <eventcore/runtime/event_draft.hpp>

#include <google/protobuf/message.h>

namespace eventcore {

event_draft::event_draft(DistributedEvent event, decoder decode)
    : event_{std::move(event)}
    , decode_{std::move(decode)} {
  event_.clear_payload();
}

event_draft::event_draft(DistributedEvent event, std::unique_ptr<google::protobuf::Message> payload)
    : event_{std::move(event)}
    , owned_{std::move(payload)}
    , payload_{owned_.get()} {
  event_.clear_payload();
}

event_draft::event_draft(event_draft&&) noexcept = default;
event_draft& event_draft::operator=(event_draft&&) noexcept = default;
event_draft::~event_draft() = default;

result<const google::protobuf::Message*> event_draft::payload() {
  if (payload_ == nullptr) {
    auto decoded = decode_();
    if (!decoded)
      return decoded.error();
    payload_ = *decoded;
  }
  return payload_;
}

result<google::protobuf::Message*> event_draft::change_payload() {
  if (auto decoded = payload(); !decoded)
    return decoded.error();
  changed_ = true;
  return payload_;
}

void event_draft::replace_payload(std::unique_ptr<google::protobuf::Message> payload) {
  event_.set_event_type(payload->GetDescriptor()->full_name());
  owned_ = std::move(payload);
  payload_ = owned_.get();
  changed_ = true;
}

} // namespace eventcore
