#include <eventcore/actors/internal/caf_compat.hpp>

#include <caf/detail/message_data.hpp>

namespace eventcore::internal {

namespace {

using protobuf_message = google::protobuf::Message;

caf::rtti_pair type_of(const protobuf_message& message) {
  return {0, &typeid(message)};
}

caf::error not_between_nodes() {
  return caf::make_error(caf::sec::unknown_type, "typed Protobuf messages do not travel between nodes");
}

/// One Protobuf message as an element that CAF copies out of a tuple.
class protobuf_value final : public caf::type_erased_value {
public:
  explicit protobuf_value(const protobuf_message& source)
      : content_{source.New()} {
    content_->CopyFrom(source);
  }

  void* get_mutable() override { return dynamic_cast<void*>(content_.get()); }
  const void* get() const override { return dynamic_cast<const void*>(content_.get()); }
  caf::rtti_pair type() const override { return type_of(*content_); }
  caf::error load(caf::deserializer&) override { return not_between_nodes(); }
  caf::error save(caf::serializer&) const override { return not_between_nodes(); }
  std::string stringify() const override { return content_->ShortDebugString(); }
  caf::type_erased_value_ptr copy() const override {
    return caf::type_erased_value_ptr{new protobuf_value{*content_}};
  }

private:
  std::unique_ptr<protobuf_message> content_;
};

/// `(message)`, `(context, message)` or `(id, context, message)`.
class protobuf_tuple final : public caf::detail::message_data {
public:
  struct address {
    std::optional<std::string> id;
    command_context context;
  };

  explicit protobuf_tuple(std::unique_ptr<protobuf_message> content)
      : content_{std::move(content)} {}
  protobuf_tuple(address to, std::unique_ptr<protobuf_message> content)
      : address_{std::move(to)}
      , content_{std::move(content)} {}

  std::unique_ptr<protobuf_message> clone_content() const {
    std::unique_ptr<protobuf_message> result{content_->New()};
    result->CopyFrom(*content_);
    return result;
  }
  std::unique_ptr<protobuf_message> release() { return std::move(content_); }

  protobuf_tuple* copy() const override {
    return address_ ? new protobuf_tuple{*address_, clone_content()} : new protobuf_tuple{clone_content()};
  }

  std::size_t size() const noexcept override { return !address_ ? 1 : address_->id ? 3 : 2; }

  std::uint32_t type_token() const noexcept override {
    return !address_      ? caf::make_type_token<protobuf_message>()
           : address_->id ? caf::make_type_token<std::string, command_context, protobuf_message>()
                          : caf::make_type_token<command_context, protobuf_message>();
  }

  caf::rtti_pair type(std::size_t pos) const noexcept override {
    if (pos + 1 == size())
      return type_of(*content_);
    return is_id(pos) ? caf::make_rtti_pair<std::string>() : caf::make_rtti_pair<command_context>();
  }

  const void* get(std::size_t pos) const noexcept override {
    if (pos + 1 == size())
      return dynamic_cast<const void*>(content_.get());
    return is_id(pos) ? static_cast<const void*>(&*address_->id) : &address_->context;
  }

  void* get_mutable(std::size_t pos) override { return const_cast<void*>(get(pos)); }

  std::string stringify(std::size_t pos) const override {
    if (pos + 1 == size())
      return content_->ShortDebugString();
    return is_id(pos) ? *address_->id : "<context>";
  }

  caf::type_erased_value_ptr copy(std::size_t pos) const override {
    if (pos + 1 == size())
      return caf::type_erased_value_ptr{new protobuf_value{*content_}};
    return is_id(pos) ? caf::make_type_erased_value<std::string>(*address_->id)
                      : caf::make_type_erased_value<command_context>(address_->context);
  }

  caf::error load(std::size_t, caf::deserializer&) override { return not_between_nodes(); }
  caf::error save(std::size_t, caf::serializer&) const override { return not_between_nodes(); }

private:
  bool is_id(std::size_t pos) const noexcept { return pos == 0 && address_->id; }

  std::optional<address> address_;
  std::unique_ptr<protobuf_message> content_;
};

caf::message to_message(protobuf_tuple* tuple) {
  return caf::message{caf::message::data_ptr{tuple, false}};
}

std::string type_name(caf::rtti_pair type) {
  if (type.first != 0)
    return caf::numbered_type_names[type.first - 1];
  return name_of(*type.second);
}

} // namespace

caf::message make_reply_message(std::unique_ptr<protobuf_message> message) {
  return to_message(new protobuf_tuple{std::move(message)});
}

caf::message make_command_message(std::string id, command_context context,
                                  std::unique_ptr<protobuf_message> command) {
  return to_message(new protobuf_tuple{{std::move(id), std::move(context)}, std::move(command)});
}

caf::message make_command_message(command_context context, std::unique_ptr<protobuf_message> command) {
  return to_message(new protobuf_tuple{{std::nullopt, std::move(context)}, std::move(command)});
}

std::unique_ptr<protobuf_message> take_reply(caf::message& reply) {
  // `unique()` below is exact: nobody but `reply` can make another reference of a message that nobody else
  // holds.
  auto* content = const_cast<caf::detail::message_data*>(reply.cvals().get());
  if (!content || typeid(*content) != typeid(protobuf_tuple))
    return nullptr;
  auto* tuple = static_cast<protobuf_tuple*>(content);
  return tuple->unique() ? tuple->release() : tuple->clone_content();
}

std::optional<command_view> view_command(const caf::type_erased_tuple& content) {
  static const auto string_type = caf::make_rtti_pair<std::string>();
  static const auto context_type = caf::make_rtti_pair<command_context>();
  auto size = content.size();
  if (size < 2 || size > 3 || !content.matches(0, string_type) ||
      (size == 3 && !content.matches(1, context_type)))
    return std::nullopt;
  return command_view{
      static_cast<const std::string*>(content.get(0)),
      size == 3 ? static_cast<const command_context*>(content.get(1)) : nullptr,
      content.type(size - 1).second,
      content.get(size - 1),
  };
}

std::optional<command_view> view_multi_stream_command(const caf::type_erased_tuple& content) {
  static const auto context_type = caf::make_rtti_pair<command_context>();
  auto size = content.size();
  if (size < 1 || size > 2 || (size == 2 && !content.matches(0, context_type)))
    return std::nullopt;
  return command_view{
      nullptr,
      size == 2 ? static_cast<const command_context*>(content.get(0)) : nullptr,
      content.type(size - 1).second,
      content.get(size - 1),
  };
}

std::string describe(const caf::type_erased_tuple& content) {
  std::string result = "(";
  for (std::size_t i = 0; i != content.size(); ++i) {
    if (i > 0)
      result += ", ";
    result += type_name(content.type(i));
  }
  return result += ')';
}

// -- reply_address

reply_address::reply_address(caf::mailbox_element& element)
    : id_{element.mid} {
  element.mid.mark_as_answered();
  if (!id_.is_request() || id_.is_answered()) {
    id_ = caf::message_id{};
    return;
  }
  source_ = std::move(element.sender);
  stages_ = std::move(element.stages);
}

reply_address& reply_address::operator=(reply_address&& other) noexcept {
  std::swap(source_, other.source_);
  std::swap(stages_, other.stages_);
  std::swap(id_, other.id_);
  return *this;
}

reply_address::~reply_address() {
  if (source_ || !stages_.empty())
    deliver(nullptr,
            caf::make_message(to_caf_error(make_error(
                entity_errc::outcome_unknown, "the entity ended before it could answer; read its state"))),
            nullptr);
}

void reply_address::deliver(const caf::strong_actor_ptr& from, caf::message answer,
                            caf::execution_unit* context) {
  if (!stages_.empty()) {
    auto next = std::move(stages_.back());
    stages_.pop_back();
    next->enqueue(caf::make_mailbox_element(std::move(source_), id_, std::move(stages_), std::move(answer)),
                  context);
    stages_.clear();
  } else if (source_) {
    source_->enqueue(from, id_.response_id(), std::move(answer), context);
  }
  source_.reset();
}

// -- request_slot

class request_slot::receiver final : public caf::monitorable_actor {
public:
  explicit receiver(caf::actor_config& config)
      : monitorable_actor{config} {}

  const char* name() const override { return "eventcore.request_slot"; }

  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
    std::lock_guard guard{mutex_};
    if (!answer_ && element->mid.is_response()) {
      answer_ = element->move_content_to_message();
      answered_.notify_one();
    }
  }

  std::optional<caf::message> wait_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock guard{mutex_};
    if (!answer_ && deadline == std::chrono::steady_clock::time_point{})
      return std::nullopt; // a wait that is over already costs a system call
    if (deadline == deadline.max())
      answered_.wait(guard, [this] { return answer_.has_value(); });
    else if (!answered_.wait_until(guard, deadline, [this] { return answer_.has_value(); }))
      return std::nullopt;
    return std::move(answer_);
  }

private:
  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<caf::message> answer_;
};

request_slot::request_slot(caf::actor_system& system, const caf::actor& to, caf::message request) {
  caf::actor_config config;
  handle_ = caf::make_actor<receiver, caf::actor>(system.next_actor_id(), system.node(), &system, config);
  receiver_ = static_cast<receiver*>(caf::actor_cast<caf::abstract_actor*>(handle_));
  // The first request of an actor of its own: any id serves.
  to->enqueue(caf::make_mailbox_element(caf::actor_cast<caf::strong_actor_ptr>(handle_),
                                        caf::make_message_id(1), {}, std::move(request)),
              nullptr);
}

std::optional<caf::message> request_slot::wait_until(std::chrono::steady_clock::time_point deadline) {
  return receiver_->wait_until(deadline);
}

} // namespace eventcore::internal
