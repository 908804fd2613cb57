#include "support/registry_conformance.hpp"

#include <eventcore/runtime/embedded_registry.hpp>

#include <atomic>
#include <set>

namespace eventcore::test {

namespace {

using namespace std::chrono_literals;

/// Processes are played: each renews whenever time passes.
class embedded_world final : public registry_world {
public:
  service_registry& registry() override { return registry_; }
  std::chrono::milliseconds time_to_live() const override { return 1min; }
  std::chrono::steady_clock::time_point now() const override { return now_; }

  std::unique_ptr<registered_process> start(const service_info& instance) override {
    return std::make_unique<player>(*this, instance);
  }

  void let_time_pass() override {
    now_ += time_to_live() / 10;
    for (auto* p : players_)
      p->renew();
  }

private:
  class player final : public registered_process {
  public:
    player(embedded_world& world, service_info instance)
        : world_{world}
        , instance_{std::move(instance)} {
      renew();
      world_.players_.insert(this);
    }
    ~player() override { kill(); }
    void kill() override { world_.players_.erase(this); }
    void stop() override {
      kill();
      if (auto done = world_.registry_.withdraw(instance_.id); !done)
        throw std::runtime_error{done.error().message()};
    }
    void renew() {
      if (auto done = world_.registry_.enter(instance_); !done)
        throw std::runtime_error{done.error().message()};
    }

  private:
    embedded_world& world_;
    service_info instance_;
  };

  std::chrono::steady_clock::time_point now_{};
  std::set<player*> players_;
  embedded_registry registry_{time_to_live(), [this] { return now_; }};
};

[[maybe_unused]] const bool registered =
    register_registry_conformance("embedded_registry", [] { return std::make_unique<embedded_world>(); });

} // namespace

} // namespace eventcore::test
