#include "support/journal_conformance.hpp"

#include "support/journal_conformance_cases.hpp"

namespace eventcore::test {

bool register_journal_conformance(const std::string& name, make_journal_factory make_factory) {
  namespace ut = boost::unit_test;
  auto* all = BOOST_TEST_SUITE(name);
  for (auto durability : {durability::fsync, durability::relaxed}) {
    auto* suite = BOOST_TEST_SUITE(durability == durability::fsync ? "fsync" : "relaxed");
    for (auto* cases : {append_cases, bounds_cases, reading_cases, content_cases, life_cases, model_cases,
                        tail_cases, timer_cases})
      for (auto& [case_name, body] : cases()) {
        auto run = [body = body, durability, make_factory] {
          body({durability, make_factory, make_factory()});
        };
        suite->add(ut::make_test_case(run, case_name, __FILE__, __LINE__));
      }
    all->add(suite);
  }
  ut::framework::master_test_suite().add(all);
  return true;
}

} // namespace eventcore::test
