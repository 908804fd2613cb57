#pragma once

#include <google/protobuf/message.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace eventcore {

namespace internal {

template <class F>
struct lift_signature;
template <class To, class From>
struct lift_signature<std::function<To(const From&)>> {
  using from = From;
  using to = To;
};

} // namespace internal

/// Lifts stored events of older schema versions while they are read, step by step (spec 42).
///
/// An event type declares its present version by `option (eventcore.schema_version)` of
/// `eventcore/persistence/options.proto`. A decider whose journal holds older ones says how each version becomes
/// the next, in terms of the message classes that it keeps for them:
///
///     static void upcast(eventcore::upcasters& u) {
///       u.lift("bank.Deposited", 1, [](const bank::v1::Deposited& old) {   // amounts were in whole units
///         return make<bank::v2::Deposited>([&](auto& e) { e.set_cents(old.amount() * 100); });
///       });
///       u.lift("bank.Deposited", 2, [](const bank::v2::Deposited& old) { ...; return bank::Deposited{...}; });
///     }
///
/// The functions are pure, like `evolve`. One that throws stops the stream's recovery with an error that names stream,
/// version, position and type. A type that was renamed says its former names by `option (eventcore.formerly)`; its lifts
/// are named by the new one.
///
/// What is wrong is found when the decider is registered, by `std::logic_error`: a lift for a type that is no event of the
/// decider, two lifts of one version, a gap on the way to the present version, a lift at or behind it, a step whose result is not what
/// the next one takes, a former name that two events claim or that is an event itself (names that go round in a circle).
class upcasters {
public:
  /// `f` takes a `const From&` and returns a `To`, both Protobuf messages: it makes events of `type` at schema version
  /// `from` into those of `from + 1`.
  template <class F>
  void lift(const std::string& type, std::uint32_t from, F f) {
    using signature = internal::lift_signature<decltype(std::function{f})>;
    using From = typename signature::from;
    using To = typename signature::to;
    static_assert(std::derived_from<From, google::protobuf::Message> &&
                      std::derived_from<To, google::protobuf::Message>,
                  "eventcore: lift() takes a function from one Protobuf message to another");
    add(type, from,
        {&From::default_instance(), &To::default_instance(),
         [f = std::move(f)](const google::protobuf::Message& old) {
           return std::unique_ptr<google::protobuf::Message>{
               std::make_unique<To>(f(static_cast<const From&>(old)))};
         }});
  }

  struct step {
    const google::protobuf::Message* from;
    const google::protobuf::Message* to;
    std::function<std::unique_ptr<google::protobuf::Message>(const google::protobuf::Message&)> apply;
  };

  /// By schema version, for each type.
  const std::map<std::string, std::map<std::uint32_t, step>>& steps() const noexcept { return steps_; }

private:
  void add(const std::string& type, std::uint32_t from, step s);

  std::map<std::string, std::map<std::uint32_t, step>> steps_;
};

} // namespace eventcore
