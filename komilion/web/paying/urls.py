"""Addresses of the wallet's pages, below `/dashboard`."""

from django.urls import path

from komilion.web.paying import orders, pretended_checkout, receipts, statement, wallet

app_name = "paying"
urlpatterns = [
    path("dashboard/wallet", wallet.wallet, name="wallet"),
    path("dashboard/wallet/top-up", wallet.top_up, name="top-up"),
    path("dashboard/wallet/checkout", wallet.checkout, name="checkout"),
    path("dashboard/wallet/portal", wallet.portal, name="portal"),
    path("dashboard/wallet/auto-recharge", wallet.set_auto_recharge, name="auto-recharge"),
    path("dashboard/wallet/auto-recharge/stop", wallet.stop_auto_recharge, name="stop-auto-recharge"),
    path("dashboard/wallet/alert", wallet.set_alert, name="alert"),
    path("dashboard/wallet/orders", orders.returned, name="returned"),
    path("dashboard/wallet/orders/<str:order_id>", orders.order, name="order"),
    path("dashboard/wallet/test-checkout/<str:order_id>", pretended_checkout.pretended_checkout, name="test-checkout"),
    path("dashboard/wallet/statement", statement.statement, name="statement"),
    path("dashboard/wallet/statement.csv", statement.statement_csv, name="statement-csv"),
    path("dashboard/wallet/receipts/<str:payment_id>", receipts.receipt, name="receipt"),
    path("dashboard/wallet/payments/<str:payment_id>/refund", receipts.refund, name="refund"),
]
