"""Data for every template, as producers send it: rich, with what a careless template would trip over."""

from __future__ import annotations

from typing import Any, Final

ANA: Final = {"name": "Ana <b>Núñez</b> & Cía"}
_CATEGORIES = [
    {"name": "Comida", "amount": "4210.50", "percentage": 48.2},
    {"name": "Transporte & gasolina", "amount": 2100, "percentage": 24},
    {"name": None, "amount": "812.333", "percentage": "9.3"},
]
_BUDGETS = [
    {"name": "Comida", "spent": "4210.50", "limit": 4000, "percentage": 105.3},
    {"name": "Transporte", "spent": "2100", "limit": "3000", "percentage": 70},
]
_INSIGHTS = [
    {"kind": "spending-up", "percent": "12.5"},
    {"kind": "spending-down", "percent": 3},
    {"kind": "over-budget", "name": "Comida", "percent": 105},
    {"kind": "largest", "name": "Comida", "percent": 48},
    {"kind": "uncategorized", "count": 1},
    {"kind": "saved", "amount": "1200"},
    {"kind": "overspent", "amount": "0.5"},
    "<script>alert('x')</script>",
]
_OTHER = [{"currency": "USD", "totalSpent": "20.10", "netChange": "-20.10"}]
_DRIP = {
    **ANA,
    "accountCount": 2,
    "budgetCount": 1,
    "hasGoals": False,
    "daysRemaining": 1,
    "tier": "Pro",
    "daysInactive": 8,
    "totalBalance": "104500.25",
    "unreviewedCount": 12,
}
_REPORT = {
    "spaceName": "Casa",
    "reportType": "movimientos",
    "startDate": "2026-05-01",
    "endDate": "2026-05-31",
    "attachment": {"filename": "informe mayo.csv", "content": "ZmVjaGEsaW1wb3J0ZQo=", "contentType": "text/csv"},
}

SAMPLES: Final[dict[str, dict[str, Any]]] = {
    "welcome": ANA,
    "email-verification": {"userName": "Ana", "verificationUrl": "https://app.dhanam.io/verify?token=abc&user=1"},
    "onboarding-complete": {"userName": "Ana", "completionTime": 3900, "stepsCompleted": 5, "skipOptional": True},
    "password-reset": {**ANA, "resetUrl": "https://app.dhanam.io/reset?token=abc"},
    "password-changed": {**ANA, "changedAt": "2026-05-05T20:30:00Z"},
    "two-factor-enabled": ANA,
    "two-factor-disabled": ANA,
    "login-alert": {
        **ANA,
        "browser": "Firefox 140",
        "device": "Android",
        "ipAddress": "203.0.113.7",
        "location": "Mérida, Yucatán",
        "loginTime": "2026-05-05T20:30:00Z",
    },
    "budget-alert": {
        **ANA,
        "budgetName": "Comida",
        "budgetId": "food/1",
        "percentage": 92.5,
        "spent": 3700,
        "limit": 4000,
        "remaining": "300.00",
        "currency": "MXN",
    },
    "transaction-categorized": {
        **ANA,
        "count": 12,
        "transactions": [
            {
                "description": "OXXO <Centro>",
                "amount": -85.5,
                "currency": "MXN",
                "date": "2026-05-04",
                "category": "Comida",
                "categoryColor": "#e11d48",
            },
            {
                "description": "UBER",
                "amount": "-120",
                "currency": "MXN",
                "date": "2026-05-03",
                "category": "Transporte",
                "categoryColor": "red;background:url(https://evil.test)",
            },
        ],
    },
    "sync-completed": {
        **ANA,
        "provider": "Bitso",
        "accountsUpdated": 3,
        "transactionsAdded": 41,
        "syncTime": "2026-05-05T20:30:00Z",
    },
    "sync-failed": {
        **ANA,
        "provider": "Belvo",
        "error": "El banco no responde",
        "failedAt": "2026-05-05T20:30:00Z",
        "needsReauth": True,
        "actionUrl": "https://app.dhanam.io/accounts/connections/1",
    },
    "weekly-summary": {
        **ANA,
        "spaceName": "Casa",
        "weekStart": "2026-05-04",
        "weekEnd": "2026-05-10",
        "currency": "MXN",
        "totalSpent": "8730.90",
        "netChange": "-1230.9",
        "topCategories": _CATEGORIES,
        "budgets": _BUDGETS,
        "insights": _INSIGHTS,
        "otherCurrencies": _OTHER,
    },
    "monthly-report": {
        **ANA,
        "spaceName": "Casa",
        "month": "mayo",
        "monthNumber": 5,
        "year": 2026,
        "currency": "MXN",
        "totalIncome": "32000",
        "totalExpenses": "28730.90",
        "netSavings": "3269.10",
        "savingsRate": "10.2",
        "topCategories": _CATEGORIES,
        "budgetPerformance": _BUDGETS,
        "netWorthTrend": [
            {"date": "2026-04-30", "value": "1200000"},
            {"date": "2026-05-31", "value": "1203269.10"},
        ],
        "currentNetWorth": "1203269.10",
        "netWorthChange": "3269.10",
        "netWorthChangePercent": "0.27",
        "esgData": {"score": 62.5, "insight": {"kind": "esg-drag", "name": "BTC"}},
        "missingRates": ["CAD"],
        "recommendations": _INSIGHTS,
        "otherCurrencies": _OTHER,
        "hasAttachment": True,
    },
    "investor-report": {
        "reportName": "Primer trimestre",
        "spaceName": "Mi empresa",
        "startDate": "2026-01-01",
        "endDate": "2026-03-31",
        "expiresAt": "2026-06-01T06:00:00Z",
        "message": "Hola:\n<img src=x onerror=alert(1)>\nSaludos",
        "publicUrl": "https://app.dhanam.io/r/abc",
        "senderName": "Luis",
        "senderEmail": "luis@example.test",
    },
    "drip-day-1-connect": _DRIP,
    "drip-day-3-budget": _DRIP,
    "drip-day-7-summary": _DRIP,
    "drip-day-14-trial": _DRIP,
    "drip-reengagement-day-7": _DRIP,
    "drip-reengagement-day-14": _DRIP,
    "connection-health-alert": {
        "spaceName": "Casa",
        "summaryMessage": None,
        "accounts": [
            {"type": "connection_reauth", "accountId": "1", "accountName": "Débito <BBVA>"},
            {"type": "connection_degraded", "accountId": "2", "accountName": "Bitso"},
            {"type": "connection_error", "accountId": "3", "accountName": "Chase", "message": "Timed out"},
        ],
        "actionUrl": "https://app.dhanam.io/accounts",
    },
    "life-beat-inactivity-warning": {
        **ANA,
        "daysInactive": 60,
        "alertLevel": 3,
        "isFinal": True,
        "executorCount": 2,
        "checkInUrl": "https://app.dhanam.io/check-in/abc",
        "settingsUrl": "https://app.dhanam.io/settings/life-beat",
    },
    "life-beat-executor-alert": {
        "executorName": "Eva",
        "accountHolderName": "Ana",
        "daysInactive": 90,
        "accessRequestUrl": "https://app.dhanam.io/access/abc",
        "relationship": "hermana",
    },
    "scheduled-weekly-report": _REPORT,
    "scheduled-monthly-report": _REPORT,
}

_ROOT: Final = {
    "email-verification": {"userName": "Ana", "verificationUrl": "https://a.test/v"},
    "onboarding-complete": {"userName": "Ana"},
    "budget-alert": {**SAMPLES["budget-alert"], "remaining": "-100", "budgetId": None},
    "transaction-categorized": {**ANA, "count": 1},
    "sync-failed": {**ANA, "provider": "Belvo", "error": "El banco no responde", "failedAt": "ayer"},
    "weekly-summary": {
        **ANA,
        "weekStart": "2026-05-04",
        "weekEnd": "2026-05-10",
        "currency": "MXN",
        "totalSpent": 0,
        "netChange": 0,
    },
    "monthly-report": {
        **ANA,
        "month": "2026-05",
        "year": 2026,
        "currency": "MXN",
        "totalIncome": 0,
        "totalExpenses": 0,
        "netSavings": 0,
        "currentNetWorth": 0,
        "netWorthTrend": "estable",
    },
    "investor-report": {
        key: value
        for key, value in SAMPLES["investor-report"].items()
        if key not in ("message", "expiresAt", "senderEmail")
    },
    "connection-health-alert": {
        "spaceName": "Casa",
        "name": "Ana",
        "accounts": [{"type": "new-kind", "accountId": "1", "accountName": "Débito"}],
        "actionUrl": "https://a.test/",
    },
    "life-beat-inactivity-warning": {**ANA, "daysInactive": 1, "executorCount": 1, "checkInUrl": "https://a.test/"},
    "life-beat-executor-alert": {
        key: value for key, value in SAMPLES["life-beat-executor-alert"].items() if key != "relationship"
    },
    "scheduled-weekly-report": {key: value for key, value in _REPORT.items() if key != "reportType"},
    "scheduled-monthly-report": {key: value for key, value in _REPORT.items() if key != "reportType"},
    "password-reset": SAMPLES["password-reset"],
    "password-changed": {**ANA, "changedAt": "2026-05-05"},
    "sync-completed": {**ANA, "provider": "Bitso", "accountsUpdated": 1, "transactionsAdded": 0},
}
BARE: Final[dict[str, dict[str, Any]]] = {name: _ROOT.get(name, ANA) for name in SAMPLES}
"""The same templates with no more than they must have."""
