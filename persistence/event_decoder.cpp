#include <eventcore/persistence/event_decoder.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <iterator>
#include <map>
#include <utility>

namespace eventcore {

namespace {

namespace pb = google::protobuf;

/// Keeps quiet: what is wrong with a descriptor is said by the error of the event that needs it.
class silent_collector final : public pb::DescriptorPool::ErrorCollector {
  void AddError(const std::string&, const std::string&, const pb::Message*, ErrorLocation,
                const std::string&) override {}
};

/// One form of a type. Each has a pool of its own, since two forms differ in files of the same name.
class type_form {
public:
  explicit type_form(event_type_info info)
      : info_{std::move(info)} {}

  /// Null if the stored descriptors are of no use. Built by the first call.
  pb::Message* message() {
    if (!built_) {
      built_ = true;
      build();
      info_ = {};
    }
    return message_.get();
  }

private:
  void build() {
    pb::FileDescriptorSet files;
    if (!files.ParseFromString(info_.descriptors))
      return;
    silent_collector errors;
    for (const auto& file : files.file())
      if (pool_.BuildFileCollectingErrors(file, &errors) == nullptr)
        return;
    if (const auto* type = pool_.FindMessageTypeByName(info_.name))
      message_.reset(factory_.GetPrototype(type)->New());
  }

  event_type_info info_;
  bool built_ = false;
  pb::DescriptorPool pool_;
  pb::DynamicMessageFactory factory_;
  std::unique_ptr<pb::Message> message_; // must go before its factory
};

error undecodable(const recorded_event& e, const std::string& why) {
  return make_error(journal_errc::corrupt, "stream " + e.stream + ", version " + std::to_string(e.version) +
                                               ", position " + std::to_string(e.position) + ", type " +
                                               e.type + ": " + why);
}

} // namespace

struct event_decoder::impl {
  journal_reader& journal;
  std::map<std::string, std::map<log_position, type_form>, std::less<>> types; ///< forms by first position
  log_position known_to = 0; ///< the types of all events up to here are known

  result<void> refresh() {
    const auto head = journal.head();
    if (!head)
      return head.error();
    auto infos = journal.event_types();
    if (!infos)
      return infos.error();
    for (auto& info : *infos) {
      const auto first = info.first_position;
      types[info.name].try_emplace(first, std::move(info));
    }
    known_to = *head;
    return {};
  }

  /// Null if there is none.
  type_form* form_of(const recorded_event& e) {
    const auto type = types.find(e.type);
    if (type == types.end())
      return nullptr;
    const auto younger = type->second.upper_bound(e.position);
    return younger == type->second.begin() ? nullptr : &std::prev(younger)->second;
  }

  /// Of the form of `e`; what it holds is of another event.
  result<pb::Message*> message_for(const recorded_event& e) {
    if (e.position > known_to)
      if (auto known = refresh(); !known)
        return known.error();
    auto* form = form_of(e);
    if (form == nullptr)
      return undecodable(e, "the journal holds no descriptor of this type");
    auto* message = form->message();
    if (message == nullptr)
      return undecodable(e, "the journal's descriptor of this type is damaged");
    return message;
  }
};

event_decoder::event_decoder(journal_reader& from)
    : impl_{new impl{from, {}, 0}} {}

event_decoder::~event_decoder() = default;

result<google::protobuf::Message*> event_decoder::decode(const recorded_event& e) {
  auto message = impl_->message_for(e);
  if (!message)
    return message;
  if (!(*message)->ParsePartialFromString(e.payload))
    return undecodable(e, "the payload is no message of this type");
  if (!(*message)->IsInitialized())
    return undecodable(e, "the payload lacks required fields: " + (*message)->InitializationErrorString());
  return message;
}

result<const google::protobuf::Descriptor*> event_decoder::type_of(const recorded_event& e) {
  auto message = impl_->message_for(e);
  if (!message)
    return message.error();
  return (*message)->GetDescriptor();
}

} // namespace eventcore
