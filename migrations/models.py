"""The tables of a small application, as its code sees them; the revisions in `versions/` lead there."""

from __future__ import annotations

import enum
from datetime import datetime  # noqa: TC003  # SQLAlchemy reads the annotations
from decimal import Decimal  # noqa: TC003
from typing import ClassVar

from sqlalchemy import DateTime, Enum, ForeignKey, Index, MetaData, Numeric, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of all tables. Every constraint gets a name, so that a revision can drop it again."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class OrderStatus(enum.Enum):
    """Where an order stands; the database stores the values."""

    NEW = "new"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class UserData(Base):
    """A customer."""

    __tablename__ = "userdata"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    age: Mapped[int | None]
    display_name: Mapped[str] = mapped_column(String(200))

    orders: Mapped[list[Order]] = relationship(back_populates="customer")


class Order(Base):
    """Something that a customer has bought."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_placed_at", "placed_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    userdata_id: Mapped[int] = mapped_column(ForeignKey("userdata.id", ondelete="CASCADE"), index=True)
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    status: Mapped[OrderStatus] = mapped_column(
        Enum(OrderStatus, name="order_status", values_callable=lambda kind: [each.value for each in kind]),
        server_default=OrderStatus.NEW.value,
    )

    customer: Mapped[UserData] = relationship(back_populates="orders")
