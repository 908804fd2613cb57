#include <eventcore/runtime/internal/cluster/served_peer.hpp>

#include <eventcore/runtime/internal/cluster/local_services.hpp>

namespace eventcore::internal {

using google::protobuf::Message;

bool served_peer::begin(std::uint64_t id, time_point deadline) {
  bool begun = false;
  out_->write([&](byte_buffer&) {
    begun = under_way_.size() < limits_.in_flight && under_way_.emplace(id, deadline).second;
  });
  return begun;
}

void served_peer::answer(std::uint64_t id, const caf::message& content) {
  if (content.match_elements<caf::error>())
    return refuse(id, from_caf_error(content.get_as<caf::error>(0)));
  const Message* message = nullptr;
  if (content.size() == 1 && content.type(0).second && prototype_of(*content.type(0).second))
    message = static_cast<const Message*>(content.at(0));
  if (!message && !content.empty())
    return refuse(id, make_error(entity_errc::unexpected_reply,
                                 "the command was carried out, but its answer does not travel between nodes, "
                                 "because it is no Protobuf message: " +
                                     describe(content.content())));
  const auto size = message ? message->ByteSizeLong() : 0;
  if (size > limits_.message)
    return refuse(id, make_error(entity_errc::outcome_unknown,
                                 "the command was carried out, but its answer " + message->GetTypeName() +
                                     " has " + std::to_string(size) + " bytes, more than the " +
                                     std::to_string(limits_.message) +
                                     " that cluster_options::max_message of its node allows"));
  static thread_local std::string payload;
  payload.clear();
  if (message)
    message->AppendPartialToString(&payload);
  out_->write([&](byte_buffer& buffer) {
    if (!end(id))
      return false;
    frame_writer frame{buffer, frame_kind::answer};
    frame.number(id);
    frame.byte(static_cast<std::uint8_t>(message ? answer_status::message : answer_status::empty));
    if (!message)
      return is_idle();
    const auto [known, is_new] = types_.try_emplace(message->GetDescriptor(), types_.size() + 1);
    frame.number(is_new ? 0 : known->second);
    if (is_new)
      frame.text(message->GetDescriptor()->full_name());
    frame.raw(payload);
    return is_idle();
  });
}

void served_peer::refuse(std::uint64_t id, const error& why) {
  out_->write([&](byte_buffer& buffer) {
    end(id);
    frame_writer frame{buffer, frame_kind::answer};
    frame.number(id);
    frame.byte(static_cast<std::uint8_t>(answer_status::failed));
    write_error(frame, why);
    return is_idle();
  });
}

void served_peer::sweep(time_point now) {
  out_->write(
      [&](byte_buffer&) { std::erase_if(under_way_, [&](const auto& call) { return call.second <= now; }); });
}

std::size_t served_peer::in_flight() const {
  std::size_t count = 0;
  out_->write([&](byte_buffer&) { count = under_way_.size(); });
  return count;
}

void responder::enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) {
  if (element->mid.is_response())
    to_->answer(element->mid.request_id().integer_value(), element->move_content_to_message());
}

} // namespace eventcore::internal
